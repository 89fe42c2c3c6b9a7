import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { decodeModelProto, encodeModelProto } from "../../src/onnx/codec.ts";
import { onnx } from "../../src/onnx/schema.js";
import { uniform } from "../helpers/lcg.ts";
import { npz } from "./npz.ts";
import { cli, snapshot, temporaryFolder } from "./run-cli.ts";

let folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
const good = readFileSync("models/mlp.onnx");

beforeEach(async () => {
  folder = temporaryFolder();
  writeFileSync(at("good.onnx"), good);
  writeFileSync(
    at("data.npz"),
    npz(40, [1, 28, 28], (index) => index % 10),
  );
  await cli("inject", at("good.onnx"), "-o", at("injected.onnx"));
});
afterEach(() => folder.remove());

/** A model with its weights in a file that is not there. */
function withMissingData(bytes: Uint8Array): Uint8Array {
  const proto = decodeModelProto(bytes);
  for (const tensor of proto.graph?.initializer ?? []) {
    tensor.rawData = new Uint8Array();
    tensor.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
    tensor.externalData = [{ key: "location", value: "weights.bin" }];
  }
  return encodeModelProto(proto);
}

/** What is wrong with a model file, and how to make such a file of a whole one. */
const models: Readonly<Record<string, (path: string, whole: Uint8Array) => void>> = {
  "an empty file": (path) => writeFileSync(path, ""),
  "a truncated file": (path, whole) => writeFileSync(path, whole.subarray(0, whole.length / 2)),
  "random bytes": (path) => writeFileSync(path, new Uint8Array(uniform("bad input", 5000, 1).buffer)),
  "a folder": (path) => mkdirSync(path),
  "a JSON file": (path) => writeFileSync(path, '{"model": [1, 2, 3]}'),
  "a missing file": () => {},
  "a model whose external data is missing": (path, whole) => writeFileSync(path, withMissingData(whole)),
};

/** Every command, reading the model at `bad`. */
const commands: Readonly<Record<string, (bad: string) => string[]>> = {
  inspect: (bad) => ["inspect", bad],
  inject: (bad) => ["inject", bad, "-o", at("out.onnx")],
  strip: (bad) => ["strip", bad, "-o", at("elsewhere/out.onnx")],
  "verify (original)": (bad) => ["verify", bad, at("injected.onnx")],
  "verify (injected)": (bad) => ["verify", at("good.onnx"), bad],
  grad: (bad) => ["grad", bad, "--objective", "cross-entropy", "--batch", "4", "-o", at("out.onnx")],
  train: (bad) => ["train", bad, "--data", at("data.npz"), "--batch", "8", "-o", at("out.onnx")],
  angles: (bad) => ["angles", bad],
};

/** Runs a command that must fail: exit 1 or 2, one line that names the culprit, nothing written. */
async function fails(argv: readonly string[], names: RegExp): Promise<void> {
  const before = snapshot(folder.path);
  const { code, stdout, stderr } = await cli(...argv);
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
  expect(stderr).toMatch(names);
  expect([1, 2]).toContain(code);
  expect(stdout).toBe("");
  expect(snapshot(folder.path)).toEqual(before);
}

describe.each(Object.entries(commands))("%s", (command, argv) => {
  it.each(Object.entries(models))("refuses %s", async (kind, make) => {
    mkdirSync(at("elsewhere"));
    const reads = ["strip", "verify (injected)"].includes(command) ? "injected.onnx" : "good.onnx";
    make(at("bad.onnx"), readFileSync(at(reads)));
    await fails(argv(at("bad.onnx")), kind.includes("external") ? /weights\.bin/ : /bad\.onnx/);
  });
});

describe("output files", () => {
  const writers = ["inject", "strip", "grad", "train"] as const;
  const commandFor = (command: (typeof writers)[number], output: string) => {
    const argv = commands[command]?.(at(command === "strip" ? "injected.onnx" : "good.onnx")) ?? [];
    return argv.map((argument) => (argument.endsWith("out.onnx") ? output : argument));
  };

  it.each(writers)("%s replaces nothing without --force", async (command) => {
    const argv = commandFor(command, at("out.onnx"));
    writeFileSync(at("out.onnx"), "precious");
    await fails(argv, /out\.onnx" already exists/);
  });

  it.each(writers)("%s says that the folder of its output is missing", async (command) => {
    const argv = commandFor(command, at("nowhere/out.onnx"));
    await fails(argv, /nowhere/);
  });
});

describe("data", () => {
  const readers: Readonly<Record<string, (data: string) => string[]>> = {
    train: (data) => ["train", at("good.onnx"), "--data", data, "--batch", "8", "-o", at("out.onnx")],
    angles: (data) => ["angles", at("good.onnx"), "--data", data],
    verify: (data) => ["verify", at("good.onnx"), at("injected.onnx"), "--data", data],
  };

  describe.each(Object.entries(readers))("%s", (_, argv) => {
    it.each([
      ["a missing file", "data", /missing\.npz/, () => at("missing.npz")],
      ["another format", "data", /good\.onnx/, () => at("good.onnx")],
      ["an empty file", "data", /empty\.npz/, () => at("empty.npz")],
      ["a truncated file", "data", /cut\.npz/, () => at("cut.npz")],
      ["samples of another shape", "shape", /27|shape/, () => at("shape.npz")],
    ] as const)("refuses %s", async (_, __, names, path) => {
      const whole = npz(40, [1, 28, 28], (index) => index % 10);
      writeFileSync(at("empty.npz"), "");
      writeFileSync(at("cut.npz"), whole.subarray(0, whole.length / 2));
      writeFileSync(
        at("shape.npz"),
        npz(40, [1, 27, 28], (index) => index % 10),
      );
      await fails(argv(path()), names);
    });
  });

  it.each([
    ["above the classes of the model", 10, /label/],
    ["below zero", -1, /label/],
  ] as const)("train refuses labels %s", async (_, wrong, names) => {
    writeFileSync(
      at("labels.npz"),
      npz(40, [1, 28, 28], (index) => (index === 30 ? wrong : index % 10)),
    );
    await fails(readers.train?.(at("labels.npz")) ?? [], names);
  });

  it("train refuses a batch larger than the data", async () => {
    await fails(
      ["train", at("good.onnx"), "--data", at("data.npz"), "--batch", "64", "-o", at("out.onnx")],
      /64/,
    );
  });
});

describe("an operator without a derivative", () => {
  /** The sample model with its logits quantized to 8 bits and back. */
  function quantized(): Uint8Array {
    const proto = decodeModelProto(good);
    const graph = proto.graph;
    const logits = graph?.output?.[0]?.name ?? "";
    const last = graph?.node?.find(({ output }) => output?.includes(logits));
    if (!graph?.node || !last) throw new Error("the sample model has no nodes");
    last.output = ["exact"];
    const scale = new onnx.TensorProto({ name: "scale", dataType: 1, floatData: [0.1] });
    graph.initializer = [...(graph.initializer ?? []), scale];
    const input = ["exact", "scale"];
    graph.node.push(
      new onnx.NodeProto({ opType: "QuantizeLinear", name: "to_8_bits", input, output: ["eight"] }),
      new onnx.NodeProto({ opType: "DequantizeLinear", input: ["eight", "scale"], output: [logits] }),
    );
    return encodeModelProto(proto);
  }

  it.each(["grad", "train"] as const)("%s names it, its node and the path", async (command) => {
    writeFileSync(at("quantized.onnx"), quantized());
    await fails(
      commands[command]?.(at("quantized.onnx")) ?? [],
      /differentiate QuantizeLinear \(node "to_8_bits"\): .*; it is needed on the path .* → QuantizeLinear "to_8_bits" → DequantizeLinear .* → loss/,
    );
  });
});
