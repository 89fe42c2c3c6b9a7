import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { zipSync } from "fflate";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { npyBytes } from "../data/npy-bytes.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats, randomInts } from "../helpers/numbers.ts";
import { cli, temporaryFolder } from "./run-cli.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());
const at = (name: string) => join(folder.path, name);

type Numbers = Float32Array | Uint8Array | BigInt64Array;
const descr = (data: Numbers) =>
  data instanceof Float32Array ? "<f4" : data instanceof Uint8Array ? "|u1" : "<i8";

function archive(name: string, arrays: Record<string, readonly [Numbers, readonly number[]]>): void {
  const files = Object.entries(arrays).map(([key, [data, shape]]) => [
    `${key}.npy`,
    npyBytes({ descr: descr(data), shape, data }),
  ]);
  writeFileSync(at(name), zipSync(Object.fromEntries(files)));
}

function model(name: string, build: (b: GraphBuilder) => Value[]): void {
  const b = new GraphBuilder(17);
  writeFileSync(at(name), encodeModelProto(graphToProto(b.output(...build(b)), { irVersion: 8 })));
}

const count = 32;
const classes = BigInt64Array.from(randomInts("classes", count, 0, 3), BigInt);
const bytes = Uint8Array.from(randomInts("bytes", count * 48, 0, 256));
bytes[0] = 255;

beforeAll(() => {
  model("two.onnx", (b) => {
    const both = b.op("Concat", [b.input("a", ["N", 3]), b.input("b", ["N", 3])], "c", { axis: 1 });
    return [b.op("MatMul", [both, b.weight("w", [6, 3])], "y")];
  });
  model("time.onnx", (b) => {
    const x = b.op("Mul", [b.input("x", ["N", 6]), b.input("t", ["N", 1])], "u");
    return [b.op("MatMul", [x, b.weight("w", [6, 3])], "y")];
  });
  model("pictures.onnx", (b) => {
    const flat = b.op("Flatten", [b.input("x", ["N", 3, 4, 4])], "flat");
    return [b.op("MatMul", [flat, b.weight("w", [48, 3])], "y")];
  });
  model("rnn.onnx", (b) => {
    const mean = b.op("ReduceMean", [b.input("x", [7, "batch", 4])], "mean", { axes: [0], keepdims: 0 });
    return [b.op("MatMul", [mean, b.weight("w", [4, 3])], "y")];
  });
  model("tokens.onnx", (b) => [b.op("MatMul", [b.input("x", ["N", 7, 6]), b.weight("w", [6, 4])], "y")]);
  model("plain.onnx", (b) => [b.op("MatMul", [b.input("x", ["N", 6]), b.weight("w", [6, 3])], "y")]);
  const floats = (name: string, ...shape: number[]) =>
    [
      randomFloats(
        name,
        shape.reduce((a, b) => a * b, 1),
        -1,
        1,
      ),
      shape,
    ] as const;
  const y = [classes, [count]] as const;
  archive("ab.npz", { a: floats("a", count, 3), b: floats("b", count, 3), y });
  archive("xb.npz", { x: floats("a", count, 3), b: floats("b", count, 3), y });
  for (const label of [1n, 100n]) {
    const own = [new BigInt64Array(count).fill(label), [count]] as const;
    archive(`t${label}.npz`, { x: floats("x", count, 6), t: floats("t", count, 1), y: own });
    archive(`no-t${label}.npz`, { x: floats("x", count, 6), y: own });
  }
  archive("bytes.npz", { x: [bytes, [count, 4, 4, 3]], y });
  // The same pictures with channels first, as floats from 0 to 1.
  const turned = Float32Array.from({ length: count * 48 }, (_, i) => {
    const [n, c, place] = [Math.floor(i / 48), Math.floor(i / 16) % 3, i % 16];
    return Math.fround((bytes[n * 48 + place * 3 + c] ?? 0) / 255);
  });
  archive("scaled.npz", { x: [turned, [count, 3, 4, 4]], y });
  archive("ntc.npz", { x: floats("series", count, 7, 4), y });
  archive("tokens.npz", {
    x: floats("tokens", count, 7, 6),
    y: [BigInt64Array.from(randomInts("t", count * 7, 0, 4), BigInt), [count, 7]],
  });
  const x = floats("x", count, 6);
  archive("medmnist.npz", {
    train_images: x,
    train_labels: y,
    val_images: x,
    val_labels: y,
    test_images: x,
    test_labels: y,
  });
  archive("marked.npz", { x, y: [classes.map((label) => (label === 2n ? 255n : label)), [count]] });
  archive("numbers.npz", { x, y: [classes.map((label) => label - 5n), [count]] });
});

const train = async (model: string, data: string, ...more: string[]) => {
  const output = at(`${model}-${data}.onnx`);
  const flags = [
    "--penalty",
    "none",
    "--batch",
    "16",
    "--force",
    "--no-report",
    "--threads",
    "1",
    "-o",
    output,
  ];
  return cli("train", at(model), "--data", at(data), ...flags, ...more);
};
const events = (model: string, data: string) =>
  readFileSync(at(`${model}-${data}.run/run.jsonl`), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { event: string; loss: number; validation?: unknown });
const losses = (model: string, data: string) => events(model, data).map(({ loss }) => loss);

describe("train", () => {
  test("feeds several inputs by name, and names the input without an array", async () => {
    expect(await train("two.onnx", "ab.npz")).toMatchObject({ code: 0 });
    expect(await train("two.onnx", "xb.npz")).toMatchObject({
      ...{ code: 1, stderr: expect.stringContaining('no array belongs to the input "a" of the model') },
    });
  });

  test("pixels with channels last are those that were turned and divided before; it is said and kept", async () => {
    const found = await train("pictures.onnx", "bytes.npz", "--epochs", "2");
    expect(found.stderr).toContain("x holds pixels 0 … 255: divided by 255");
    expect(found.stderr).toContain("hold their channels last");
    await train("pictures.onnx", "scaled.npz", "--epochs", "2");
    expect(losses("pictures.onnx", "bytes.npz")).toEqual(losses("pictures.onnx", "scaled.npz"));
    const run = at("pictures.onnx-bytes.npz.run");
    expect(readFileSync(join(run, "last.safetensors"), "latin1")).toContain('normalize\\":\\"0..1');
    const again = await cli("train", "--resume", run, "--epochs", "3", "--force", "--normalize", "none");
    expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining("leave out --normalize") });
    expect(await cli("train", "--resume", run, "--epochs", "3", "--force")).toMatchObject({ code: 0 });
  });

  test("takes [time, sample, channel] with samples on the second axis", async () => {
    expect(await train("rnn.onnx", "ntc.npz")).toMatchObject({ code: 0 });
    expect(
      await train("rnn.onnx", "ntc.npz", "--dim", "batch=16", "--checkpoint", at("dim.run")),
    ).toMatchObject({ code: 0 });
  });

  test("labels by token: as many as the model has tokens", async () => {
    expect(await train("tokens.onnx", "tokens.npz")).toMatchObject({ code: 0 });
    expect(losses("tokens.onnx", "tokens.npz")[0]).toBeGreaterThan(0);
  });

  test("takes the parts that the data bring along", async () => {
    const { stdout } = await train("plain.onnx", "medmnist.npz");
    expect(stdout).toMatch(/test: accuracy .* on 32 samples/);
    expect(
      events("plain.onnx", "medmnist.npz").find(({ event }) => event === "epoch")?.validation,
    ).toMatchObject({
      samples: 32,
    });
  });

  test("a label that does not count, and whole numbers to be predicted", async () => {
    const refused = await train("plain.onnx", "marked.npz");
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("--ignore-index 255") });
    expect(await train("plain.onnx", "marked.npz", "--ignore-index", "255")).toMatchObject({ code: 0 });
    expect(await train("plain.onnx", "numbers.npz", "--objective", "l1")).toMatchObject({
      ...{
        code: 1,
        stderr: expect.stringContaining('labels of one sample have shape [], but "labels" takes [3]'),
      },
    });
  });

  test.each([
    [
      ["--objective", "mse", "--ignore-index", "255"],
      "--ignore-index belongs to --objective cross-entropy, not to mse",
    ],
    [["--normalize", "imagenet"], "--normalize has 3 channels, but samples have shape [6]"],
    [["--normalize", "half"], "Give 0..1, none, imagenet, data"],
    [["--class-axis", "2"], "Give 1 or last"],
    [
      ["--loss", "y", "--labels", "classes"],
      "--labels belongs to --objective cross-entropy; with --loss, the model itself reads the labels",
    ],
  ])("%s is wrong usage", async (flags, message) => {
    const { code, stderr } = await train("plain.onnx", "medmnist.npz", ...flags);
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
  });
});

describe("angles and verify", () => {
  test("do not depend on labels, and take no labels for data", async () => {
    const of = async (name: string) =>
      JSON.parse((await cli("angles", at("time.onnx"), "--data", at(name), "--json")).stdout);
    expect((await of("t1.npz"))[0].responses).toEqual((await of("t100.npz"))[0].responses);
    const message = 'no array belongs to the input "t" of the model (data)';
    for (const name of ["no-t1.npz", "no-t100.npz"]) {
      expect(await cli("angles", at("time.onnx"), "--data", at(name))).toMatchObject({
        ...{ code: 1, stderr: expect.stringContaining(message) },
      });
    }
    await cli("inject", at("time.onnx"), "-o", at("injected.onnx"));
    expect(await cli("verify", at("injected.onnx"), "--data", at("t1.npz"))).toMatchObject({ code: 0 });
    expect((await cli("verify", at("injected.onnx"), "--data", at("no-t1.npz"))).stderr).toContain(message);
  });

  test("angles measures time-major responses sample by sample", async () => {
    const found = await cli("angles", at("rnn.onnx"), "--data", at("ntc.npz"), "--samples", "24", "--json");
    expect(JSON.parse(found.stdout)[0].responses.layers).toMatchObject([{ name: "y", rows: 24 }]);
  });
});
