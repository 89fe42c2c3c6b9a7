import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { zipSync } from "fflate";
import { expect, it } from "vitest";
import { matchesInLinearTime } from "../../src/block/bounded-pattern.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { adamw, crossEntropy, decodeModel, loadData, SorthError } from "../../src/index.ts";
import { Model } from "../../src/onnx/model.ts";
import { accumulate, chain, decayWeights, muon } from "../../src/optimizers/public.ts";
import { optionsFromText, optionsToText } from "../../src/runtime/stored-options.ts";
import { temporaryFolder } from "../cli/run-cli.ts";
import { npyBytes } from "../data/npy-bytes.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

/** Text that becomes code. */
const code =
  /\beval\s*\(|(?<![.\w])Function\s*\(|\bset(?:Timeout|Interval)\s*\(\s*["'`]|\bnode:vm\b|import\s*\(\s*["'`]data:/;
/** Text that becomes markup. D3, in the bundles, has a function for it that nothing here calls. */
const markup = /\b(?:inner|outer)HTML\s*=|\binsertAdjacentHTML\b|\bdocument\.write\b|\.html\(/;
/** Functions of ONNX Runtime's own loader, which the page's security policy keeps from being called. */
const runtime = /^dist\/page\/assets\/ort-/;

it.for(["src", "web", "dist/node", "dist/web", "dist/page"])(
  "%s turns no text into code or markup",
  (folder, context) => {
    context.skip(!existsSync(folder), `${folder} is not built`);
    const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
      .map((file) => join(folder, file))
      .filter((file) => /\.(ts|m?js|html)$/.test(file) && !file.endsWith(".d.ts") && !runtime.test(file));
    expect(files.length).toBeGreaterThan(10);
    const found = files.flatMap((file) => {
      const text = readFileSync(file, "utf8");
      const parts = [code.exec(text), folder.startsWith("dist") ? null : markup.exec(text)];
      return parts.flatMap((part) => (part ? [`${file}: ${part[0]}`] : []));
    });
    expect(found).toEqual([]);
  },
);

it("a checkpoint's pattern that may take for ever is refused, unless it is given again", () => {
  const options = { objective: crossEntropy(), optimizer: adamw(), batch: 4 };
  const refused = (freeze: RegExp) => {
    const text = optionsToText({ ...options, freeze });
    expect(() => optionsFromText(text)).toThrow(/may take for ever: give the options with patterns again/);
    expect(optionsFromText(text, { freeze: /a/ }).freeze).toEqual(/a/);
  };
  const taken = (freeze: RegExp) =>
    expect(optionsFromText(optionsToText({ ...options, freeze })).freeze).toEqual(freeze);
  const [slow, linear] = [
    [/(a{1,50}){1,50}$/, /^(?!b)(a+)+$/, /(a+)+\1$/, /^(a+)+$/i],
    [/^(a+)+$/, /(a|b)+/],
  ];
  for (const pattern of [...slow, ...linear]) refused(pattern);
  for (const pattern of [/^(?!.*head)/, /layer\.\d{1,2}\./, /Conv/i, /^(conv|fc)\d+\.weight$/])
    taken(pattern);
  // Patterns of optimizers are text.
  for (const optimizer of [
    muon({ exclude: /^(a+)+$/ }),
    chain(accumulate(2, adamw()), decayWeights(0.1, { include: "(a+)+$" })),
  ]) {
    const text = optionsToText({ ...options, optimizer });
    expect(() => optionsFromText(text)).toThrow(/may take for ever: give the optimizer again/);
    expect(optionsFromText(text, { optimizer: adamw() }).optimizer?.name).toBe("adamw");
  }
  // The command line has an engine for some of them.
  matchesInLinearTime();
  slow.forEach(refused);
  linear.forEach(taken);
});

it("the command line ends with a pattern that would take for ever", (context) => {
  context.skip(!existsSync("dist/node/cli.js"), "dist/node is not built");
  const folder = temporaryFolder();
  const b = new GraphBuilder(18);
  b.graph.addOutput(b.op("MatMul", [b.input("x", [2, 4]), b.weight(`${"a".repeat(60)}!`, [4, 4])], "y"));
  const path = join(folder.path, "m.onnx");
  writeFileSync(path, Model.fromProto(graphToProto(b.graph)).bytes);
  const words = ["dist/node/cli.js", "inject", path, "--include", "^(a+)+$"];
  const { status, stderr } = spawnSync(process.execPath, words, { encoding: "utf8", timeout: 150_000 });
  folder.remove();
  expect([status, stderr]).toEqual([2, expect.stringContaining("matches no layer")]);
});

it("names of a file never reach what every object has", () => {
  const b = new GraphBuilder(18);
  let h = b.input("__proto__", [2, 4]);
  for (const name of ["constructor", "prototype", "toString", "hasOwnProperty"]) {
    h = b.op("MatMul", [h, b.weight(`${name}.w`, [4, 4])], name);
  }
  b.graph.addOutput(h);
  b.graph.metadata.set("__proto__", '{"polluted":1}');
  const again = decodeModel(Model.fromProto(graphToProto(b.graph)).bytes);
  expect(again.proto.graph?.node?.map(({ output }) => output?.[0])).toContain("hasOwnProperty");
  expect(Object.keys(Object.prototype)).toEqual([]);
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
});

it("names of data never reach it either, nor a folder", async () => {
  const folder = temporaryFolder();
  const numbers = npyBytes({ descr: "<f4", shape: [2, 3], data: new Float32Array(6) });
  const files: Readonly<Record<string, Uint8Array | string>> = {
    "a.npz": zipSync({ "__proto__.npy": numbers, "constructor.npy": numbers, "../../up.npy": numbers }),
    "b.csv": "__proto__,toString,label\n1,2,0\n3,4,1\n",
    "c.jsonl": '{"__proto__": 1, "valueOf": 2, "label": 0}\n{"__proto__": 3, "valueOf": 4, "label": 1}\n',
    "d.jsonl": '{"__proto__": {"polluted": 1}, "label": 0}\n',
  };
  for (const [name, bytes] of Object.entries(files)) {
    const path = join(folder.path, name);
    writeFileSync(path, bytes);
    const loaded = await loadData(path).catch((error: unknown) => error);
    if (loaded instanceof Error) expect(loaded).toBeInstanceOf(SorthError);
  }
  expect(readdirSync(folder.path).sort()).toEqual(Object.keys(files));
  expect(Object.keys(Object.prototype)).toEqual([]);
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  folder.remove();
});
