import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import { decodeModelProto, encodeModelProto } from "../../src/onnx/codec.ts";
import { Model } from "../../src/onnx/model.ts";
import { onnx } from "../../src/onnx/schema.js";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { cli, cliOn, snapshot, temporaryFolder } from "./run-cli.ts";

let folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);

/** Names that would rewrite a terminal, forge a line, turn the direction of a text, or start a formula. */
const names = [
  "\x1b[31mRED\x1b]0;pwned\x07\x1b[2J",
  "\x9b31mC1",
  "two\nlines: passed",
  "\u202egnp.exe",
  "=cmd|' /C calc'!A0",
  "@SUM(1)",
  "+1+1",
  "-1+2",
  "\t=1+1",
  'a\r\nb,c"d',
];
/** What a terminal must not be sent. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const raw = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]/;

beforeAll(() => {
  folder = temporaryFolder();
  const b = new GraphBuilder(18);
  let h = b.input("x", ["N", 4]);
  names.forEach((name, i) => {
    h = b.op("MatMul", [h, b.weight(`${name}.w`, [4, 4])], i === names.length - 1 ? "y" : `${name}.out`);
    const { producer } = h;
    if (producer) producer.name = name;
  });
  b.graph.addOutput(h);
  writeFileSync(at("m.onnx"), Model.fromProto(graphToProto(b.graph)).bytes);
  const bad = new GraphBuilder(18);
  bad.graph.addOutput(bad.op("NoSuchOp\x1b[2J", [bad.input("x", [2])], "y"));
  writeFileSync(at("bad.onnx"), Model.fromProto(graphToProto(bad.graph)).bytes);
});
afterAll(() => folder.remove());

describe("names with control characters", () => {
  it.each([
    ["inspect", "m.onnx"],
    ["inspect", "m.onnx", "--json"],
    ["angles", "m.onnx"],
    ["inject", "m.onnx", "--per-site", "--force"],
    ["grad", "m.onnx", "--objective", "mse", "--batch", "2", "--force"],
    ["verify", "m.onnx", "m.sorth.onnx"],
    ["inspect", "bad.onnx"],
    ["inspect", "no\x1b[2Jsuch.onnx"],
    ["inspect", "m.onnx", "--\x1b[2J"],
  ])("are escaped by %s %s %s", async (command, ...rest) => {
    const argv = [command, ...rest.map((word) => (word.endsWith(".onnx") ? at(word) : word))];
    const { stdout, stderr } = await cli(...argv);
    expect(stdout + stderr).not.toMatch(raw);
    expect(stdout + stderr).not.toMatch(/^lines: passed/m);
    if (rest.includes("--json")) {
      const { sites } = JSON.parse(stdout) as { sites: { name: string }[] };
      expect(sites.map(({ name }) => name)).toEqual(names);
    }
  });

  it("bring no colours of their own to a terminal's tables", async () => {
    const { stdout } = await cliOn({ isTTY: true, columns: 200 }, "inspect", at("m.onnx"));
    expect(stdout).toContain("\\u001b[31mRED\\u001b]0;pwned\\u0007\\u001b[2J");
  });

  it("start no formula in a spreadsheet", async () => {
    const { stdout } = await cli("angles", at("m.onnx"), "--csv");
    const lines = stdout.trimEnd().split("\r\n");
    expect(lines).toHaveLength(names.length + 1);
    const cells = lines.slice(1).map((line) => /^[^,]*,("(?:[^"]|"")*"|[^,]*),MatMul,/.exec(line)?.[1]);
    expect(cells).toEqual([
      "\\u001b[31mRED\\u001b]0;pwned\\u0007\\u001b[2J",
      "\\u009b31mC1",
      "two\\u000alines: passed",
      "\\u202egnp.exe",
      "'=cmd|' /C calc'!A0",
      "'@SUM(1)",
      "'+1+1",
      "'-1+2",
      "\\u0009=1+1",
      '"a\\u000d\\u000ab,c""d"',
    ]);
  });
});

describe("a model whose data file is called as its output", () => {
  /** The sample model with its first weight in a file. */
  function external(location: string): void {
    const proto = decodeModelProto(readFileSync("models/mlp.onnx"));
    const tensor = proto.graph?.initializer?.[0];
    if (!tensor?.rawData) throw new Error("the sample model has no raw data");
    mkdirSync(at("source"), { recursive: true });
    writeFileSync(at(`source/${location}`), tensor.rawData);
    tensor.rawData = new Uint8Array();
    tensor.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
    tensor.externalData = [{ key: "location", value: location }];
    writeFileSync(at("source/m.onnx"), encodeModelProto(proto));
  }

  it.each([
    ["inject", "elsewhere/o.onnx"],
    ["inject", "source/o.onnx"],
    ["grad", "source/o.onnx", "--objective", "cross-entropy", "--batch", "2"],
    ["step", "source/o.onnx", "--batch", "2"],
  ])("%s -o %s never overwrites it", async (command, output, ...flags) => {
    external("o.onnx");
    mkdirSync(at("elsewhere"), { recursive: true });
    copyFileSync(at("source/o.onnx"), at("elsewhere/o.onnx"));
    const before = snapshot(folder.path);
    const { code, stderr } = await cli(command, at("source/m.onnx"), "-o", at(output), "--force", ...flags);
    expect(stderr).toMatch(/^error: cannot write .*o\.onnx": the model keeps its data in that file/);
    expect(code).toBe(2);
    expect(snapshot(folder.path)).toEqual(before);
  });
});
