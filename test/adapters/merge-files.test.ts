import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  type Adapter,
  decodeModel,
  encodeModel,
  graphOf,
  Model,
  mergeAdapters,
  readModel,
  Tensor,
  unmerge,
  writeModel,
} from "../../src/index.ts";
import { onnx } from "../../src/onnx/schema.js";
import { externalReference } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

const width = 128;
const waves = (length: number, seed: number) =>
  Float32Array.from({ length }, (_, i) => Math.sin(i * (seed + 1)) / 8);
const x = Tensor.of("x", "float", [3, width], waves(3 * width, 5));

/** An adapter of rank 1 for modules of [width, width]. */
function adapterFor(modules: readonly string[], size = 1): Adapter {
  const layers = modules.map((module, i) => ({
    ...{ module, alpha: 1 },
    down: Tensor.of(
      "",
      "float",
      [1, width],
      waves(width, i).map((number) => size * number),
    ),
    up: Tensor.of(
      "",
      "float",
      [width, 1],
      waves(width, i + 7).map((number) => size * number),
    ),
  }));
  return {
    rank: 1,
    alpha: 1,
    scaling: "lora",
    dropout: 0,
    dora: false,
    ia3: false,
    layers,
    saved: new Map(),
  };
}

/** x·W1·W2·W3, with weights of these names and types. */
function chain(names: readonly string[], numbers = names.map((_, i) => waves(width * width, i))): Model {
  const b = new GraphBuilder(18);
  let value = b.input("x", ["batch", width]);
  for (const [i, name] of names.entries()) {
    const weight = Tensor.of(name, "float", [width, width], numbers[i] as Float32Array);
    const at = b.graph.value(name) ?? b.graph.addInitializer(weight);
    value = b.op("MatMul", [value, at], `y${i}`);
  }
  b.output(value);
  return decodeModel(encodeModel(Model.fromProto(graphToProto(b.graph, { irVersion: 8 }))));
}

const numbersOf = (model: Model, name: string) => graphOf(model).valueNamed(name).initializer?.numbers();
const outputOf = async (model: Model) =>
  [...(await nodeProbe.run(model, new Map([["x", x]]))).values()][0]?.numbers() ?? [];
/** expect(a).toEqual(b) takes a second for so many numbers. */
const areEqual = (a: readonly number[] | undefined, b: readonly number[] | undefined) =>
  a !== undefined && a.length === b?.length && a.every((number, i) => number === b[i]);

describe("a merge into external data", () => {
  let folder = "";
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "sorth-merge-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const names = ["fc1.weight", "fc2.weight", "fc3.weight"];

  /** The chain with its weights in a file. */
  async function base(data: string): Promise<string> {
    const { proto } = chain(names);
    const parts: Uint8Array[] = [];
    for (const [i, tensor] of (proto.graph?.initializer ?? []).entries()) {
      parts.push(tensor.rawData as Uint8Array);
      tensor.rawData = new Uint8Array();
      tensor.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
      const length = width * width * 4;
      tensor.externalData = Object.entries({ location: data, offset: i * length, length }).map(
        ([key, value]) => new onnx.StringStringEntryProto({ key, value: `${value}` }),
      );
    }
    await writeFile(join(folder, data), Buffer.concat(parts));
    await writeFile(join(folder, "base.onnx"), encodeModel(Model.fromProto(proto)));
    return join(folder, "base.onnx");
  }

  const placesOf = (model: Model) =>
    model.proto.graph?.initializer?.map((tensor) => externalReference(tensor)?.location);

  test("stays external, in a file of the merged model's own, which needs no other", async () => {
    const path = await base("base.data");
    const before = await readFile(join(folder, "base.data"));
    const adapter = adapterFor(["fc1", "fc3"]);
    const expected = await mergeAdapters(chain(names), adapter);
    const merged = await mergeAdapters(await readModel(path), adapter);
    await writeModel(merged, join(folder, "merged.onnx"));
    expect(await readdir(folder)).toEqual(["base.data", "base.onnx", "merged.onnx", "merged.onnx.data"]);
    expect((await readFile(join(folder, "base.data"))).equals(before)).toBe(true);
    await mkdir(join(folder, "elsewhere"));
    for (const name of ["merged.onnx", "merged.onnx.data"])
      await rename(join(folder, name), join(folder, "elsewhere", name));
    const read = await readModel(join(folder, "elsewhere", "merged.onnx"));
    expect(placesOf(read)).toEqual(names.map(() => "merged.onnx.data"));
    expect(read.size).toBeLessThan(2000);
    for (const name of names) expect(areEqual(numbersOf(read, name), numbersOf(expected, name))).toBe(true);
    expect(await outputOf(read)).toEqual(await outputOf(expected));
  });

  test("overwrites no data of its input, whatever that is called", async () => {
    const path = await base("base.onnx.data");
    const before = await readFile(join(folder, "base.onnx.data"));
    const merged = await mergeAdapters(await readModel(path), adapterFor(["fc1", "fc2"]));
    await writeModel(merged, path, { force: true });
    expect((await readFile(join(folder, "base.onnx.data"))).equals(before)).toBe(true);
    expect(placesOf(await readModel(path))).toEqual(names.map(() => "base.onnx.2.data"));
    // Another model's data are not replaced either, unless the caller says so.
    await writeFile(join(folder, "other.onnx.data"), "mine");
    const again = await mergeAdapters(await readModel(path), adapterFor(["fc1", "fc2"]));
    await writeModel(again, join(folder, "other.onnx"));
    expect(await readFile(join(folder, "other.onnx.data"), "utf8")).toBe("mine");
    expect(placesOf(await readModel(join(folder, "other.onnx")))?.[0]).toBe("other.onnx.2.data");
  });

  test("names the file that is gone", async () => {
    const merged = await mergeAdapters(await readModel(await base("base.data")), adapterFor(["fc1"]));
    await rm(join(folder, "base.data"));
    await expect(writeModel(merged, join(folder, "merged.onnx"))).rejects.toThrow(/base\.data/);
  });
});

describe("the layers of a merge", () => {
  const model = chain(["fc1.weight", "fc2.weight", "fc3.weight"]);
  const adapter = adapterFor(["fc1", "fc2", "fc3"]);
  const changed = (merged: Model) =>
    [1, 2, 3].filter((i) => {
      const [now, before] = [merged, model].map((one) => numbersOf(one, `fc${i}.weight`));
      return now?.some((number, at) => number !== before?.[at]);
    });

  test.each([
    [{ include: /fc1|fc2/ }, [1, 2]],
    [{ exclude: /fc1/ }, [2, 3]],
    [{ include: /fc[12]/, exclude: /fc2/g }, [1]],
    [{}, [1, 2, 3]],
  ])("%o", async (options, expected) => {
    const messages: string[] = [];
    const onMessage = (text: string) => messages.push(text);
    const merged = await mergeAdapters(model, adapter, { ...options, onMessage });
    expect(changed(merged)).toEqual(expected);
    const chosen = `chosen by the patterns: ${expected.length} of 3 layers`;
    expect(messages).toEqual(expected.length === 3 ? [] : [chosen]);
    const back = await unmerge(merged, adapter, options);
    for (const i of [1, 2, 3]) {
      const before = numbersOf(model, `fc${i}.weight`) ?? [];
      const now = numbersOf(back, `fc${i}.weight`) ?? [];
      expect(Math.max(...now.map((number, at) => Math.abs(number - (before[at] ?? 0))))).toBeLessThan(1e-7);
    }
  });

  test("patterns that choose nothing are refused", async () => {
    await expect(mergeAdapters(model, adapter, { include: /fc9/ })).rejects.toThrow(
      /--include fc9 matches no layer/,
    );
    await expect(mergeAdapters(model, adapter, { include: /fc1/, exclude: /fc/ })).rejects.toThrow(
      /leave no layer/,
    );
  });
});

describe("layers whose module TorchScript does not tell", () => {
  // Modules in a list of lists, which the outer module calls: `/q_1/MatMul` is `layers.1.q`, as only its bias tells.
  const b = new GraphBuilder(18);
  let value = b.input("x", ["batch", width]);
  for (const [i, suffix] of ["", "_1", "_2"].entries()) {
    for (const part of ["q", "v"]) {
      const weight = Tensor.of(`onnx::MatMul_${part}${i}`, "float", [width, width], waves(width * width, i));
      value = b.op("MatMul", [value, b.graph.addInitializer(weight)], `${part}${i}`);
      if (value.producer) value.producer.name = `/${part}${suffix}/MatMul`;
      if (part === "q") value = b.op("Add", [value, b.weight(`layers.${i}.q.bias`, [width])], `sum${i}`);
    }
  }
  b.output(value);
  const model = decodeModel(encodeModel(Model.fromProto(graphToProto(b.graph, { irVersion: 8 }))));

  test("are told by their bias", async () => {
    const adapter = adapterFor(["layers.1.q", "layers.2.q"]);
    const merged = await mergeAdapters(model, adapter);
    for (const [i, k] of [[0], [1, 0], [2, 1]].entries()) {
      const [now, before] = [merged, model].map((one) => numbersOf(one, `onnx::MatMul_q${i}`) ?? []);
      const { down, up } = (k === undefined ? undefined : adapter.layers[k[1] ?? -1]) ?? {};
      // W is [in, out]: W + (B·A)ᵀ.
      const added = (at: number) =>
        Number(down?.numbers()[Math.floor(at / width)] ?? 0) * Number(up?.numbers()[at % width] ?? 0);
      const off = (now ?? []).map((number, at) => Math.abs(number - (before?.[at] ?? 0) - added(at)));
      expect(Math.max(...off)).toBeLessThan(1e-6);
    }
  });

  test.each([
    [["layers.1.v"], 'a module "layers.1.v", which the model does not have'],
    [["layers.0.v", "layers.1.v"], 'a module "layers.0.v", which the model does not have'],
  ])("%j are refused, because no bias tells them", async (modules, words) => {
    await expect(mergeAdapters(model, adapterFor(modules))).rejects.toThrow(words);
  });

  test("two modules for one layer are refused", async () => {
    const two = adapterFor(["encoder.fc1", "decoder.fc1"]);
    await expect(mergeAdapters(chain(["fc1.weight"]), two)).rejects.toThrow(
      'modules "encoder.fc1" and "decoder.fc1" would both belong to the layer',
    );
  });
});

describe("a weight that is stored twice", () => {
  const numbers = waves(width * width, 1);
  const transposed = numbers.map((_, i) => numbers[(i % width) * width + Math.floor(i / width)] as number);

  test.each([
    ["as it is", numbers],
    ["transposed", transposed],
  ])("by the exporter, %s: both layers get the adapter", async (form, copy) => {
    const b = new GraphBuilder(18);
    const weights = [
      Tensor.of("fc.weight", "float", [width, width], numbers),
      Tensor.of("onnx::MatMul_17", "float", [width, width], copy),
    ].map((tensor) => b.graph.addInitializer(tensor));
    const h = b.op("MatMul", [b.input("x", ["batch", width]), weights[0] as never], "h");
    const isTransposed = form === "transposed";
    b.output(b.op("Gemm", [h, weights[1] as never], "y", isTransposed ? { transB: 1 } : {}));
    const model = decodeModel(encodeModel(Model.fromProto(graphToProto(b.graph, { irVersion: 8 }))));
    const shared = chain(["fc.weight", "fc.weight"], [numbers, numbers]);
    const [now, expected] = await Promise.all(
      [model, shared].map(async (one) => outputOf(await mergeAdapters(one, adapterFor(["fc"])))),
    );
    expect(now?.length).toBe(3 * width);
    now?.forEach((number, i) => {
      expect(number).toBeCloseTo(expected?.[i] ?? Number.NaN, 5);
    });
  });

  test("under two names of the source: the other keeps its numbers, and that is said", async () => {
    const messages: string[] = [];
    const model = chain(["fc1.weight", "fc2.weight"], [numbers, numbers]);
    const options = { onMessage: (message: string) => messages.push(message) };
    const merged = await mergeAdapters(model, adapterFor(["fc1"]), options);
    expect(areEqual(numbersOf(merged, "fc2.weight"), numbersOf(model, "fc2.weight"))).toBe(true);
    expect(messages).toEqual([expect.stringMatching(/^"fc2.weight" holds the same numbers as "fc1.weight"/)]);
    await mergeAdapters(model, adapterFor(["fc1", "fc2"]), options);
    expect(messages).toHaveLength(1);
  });
});

describe("a sum that no type holds", () => {
  test("names the layer", async () => {
    const b = new GraphBuilder(18);
    const half = Tensor.of("fc1.weight", "float16", [width, width], new Uint16Array(width * width));
    const input = b.op("Cast", [b.input("x", ["batch", width])], "half", { to: 10 });
    b.output(b.op("MatMul", [input, b.graph.addInitializer(half)], "y"));
    const model = decodeModel(encodeModel(Model.fromProto(graphToProto(b.graph, { irVersion: 8 }))));
    await expect(mergeAdapters(model, adapterFor(["fc1"], 4000))).rejects.toThrow(
      /"fc1\.weight" would hold -?Infinity .*float16.* into the layer "y"/,
    );
    await expect(mergeAdapters(model, adapterFor(["fc1"], Number.NaN))).rejects.toThrow(/NaN.* layer "y"/);
    expect((await mergeAdapters(model, adapterFor(["fc1"], 100))).size).toBe(model.size);
  });
});
