import { describe, expect, test } from "vitest";
import { markOf } from "../../src/adapters/mark.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  adapterOf,
  addAdapters,
  arrayDataset,
  decodeModel,
  decodeOnnxAdapter,
  encodeModel,
  encodeOnnxAdapter,
  graphOf,
  type LoraOptions,
  loadAdapter,
  Model,
  meanSquaredError,
  mergeAdapters,
  Tensor,
  Trainer,
  unmerge,
} from "../../src/index.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { runModel } from "../helpers/run-model.ts";

const x = Tensor.float(
  "x",
  [3, 4],
  Array.from({ length: 12 }, (_, i) => Math.sin(i)),
);
const ids = Tensor.of("x", "int64", [2, 3], BigInt64Array.from([0, 4, 2, 2, 1, 3], BigInt));

/** Models in which several layers read one weight through one operator. */
const models: Readonly<
  Record<string, { x: Tensor; build: (b: GraphBuilder) => void; include: RegExp; chosen: readonly string[] }>
> = {
  "one Transpose before two layers": {
    x,
    build: (b) => {
      const w = b.op("Transpose", [b.weight("fc.weight", [4, 4])], "w", { perm: [1, 0] });
      b.output(b.op("MatMul", [b.op("MatMul", [b.input("x", ["batch", 4]), w], "h"), w], "y"));
    },
    include: /^h$/,
    chosen: ["h", "y"],
  },
  "Identity and Transpose before two layers, and the first one read elsewhere": {
    x,
    build: (b) => {
      const w = b.op("Identity", [b.weight("fc.weight", [4, 4])], "i");
      const t = b.op("Transpose", [w], "t", { perm: [1, 0] });
      const h = b.op("MatMul", [b.input("x", ["batch", 4]), t], "h");
      b.output(b.op("Add", [b.op("Gemm", [h, w], "k"), b.op("ReduceSum", [w], "s", { keepdims: 0 })], "y"));
    },
    include: /^h$/,
    chosen: ["h"],
  },
  "one Cast before an embedding and the last layer": {
    x: ids,
    build: (b) => {
      const half = Tensor.of(
        "emb.weight",
        "float16",
        [5, 4],
        Uint16Array.from({ length: 20 }, (_, i) => 0x3000 + 97 * i),
      );
      const table = b.op("Cast", [b.graph.addInitializer(half)], "wide", { to: 1 });
      const h = b.op("Gather", [table, b.input("x", ["batch", 3], "int64")], "h");
      b.output(b.op("MatMul", [h, b.op("Transpose", [table], "t", { perm: [1, 0] })], "y"));
    },
    include: /^h$/,
    chosen: ["h"],
  },
};

describe.each(Object.entries(models))("%s", (_, { x, build, include, chosen }) => {
  const b = new GraphBuilder(17);
  build(b);
  const model = decodeModel(encodeModel(Model.fromProto(graphToProto(b.graph, { irVersion: 8 }))));
  const run = async (one: Model) => (await runModel(encodeModel(one), { x })).y as Tensor;

  test.each<LoraOptions>([{ rank: 2 }, { dora: true }, { ia3: true }])("%o", async (options) => {
    if (options.ia3 && x === ids) return;
    const adapted = await addAdapters(model, { ...options, include });
    const { layers, ...settings } = await adapterOf(adapted);
    const wave = (tensor: Tensor) =>
      Tensor.float(
        "",
        tensor.dims,
        Array.from({ length: tensor.size }, (_, i) => Math.cos(3 * i)),
      );
    const numbers = layers.map((layer) =>
      layer.down
        ? { ...layer, down: wave(layer.down), up: wave(layer.up) }
        : { ...layer, factors: wave(layer.factors) },
    );
    const adapter = { ...settings, layers: numbers };
    const loaded = await loadAdapter(model, adapter);
    const beside = await run(loaded);
    expect(difference(beside, await run(model))).toBeGreaterThan(0.05);
    const merged = await mergeAdapters(loaded);
    // float16 has 11 digits.
    expect(difference(await run(merged), beside)).toBeLessThan(x === ids ? 0.02 : 1e-5);
    expect(markedNames(loaded)).toEqual(chosen);
    const { adapter: file } = await encodeOnnxAdapter(loaded);
    expect(
      difference(await run(await loadAdapter(model, await decodeOnnxAdapter(file))), beside),
    ).toBeLessThan(1e-5);
    if (!options.dora)
      expect(difference(await run(await unmerge(merged, adapter)), await run(model))).toBeLessThan(0.02);
  });
});

const markedNames = (model: Model) => markOf(graphOf(model))?.layers.map(({ name }) => name);
const difference = (a: Tensor, b: Tensor): number =>
  Math.max(...a.numbers().map((number, i) => Math.abs(number - (b.numbers()[i] ?? Number.NaN))));

test("calls of one module have one adapter, or none", async () => {
  const b = new GraphBuilder(17);
  const w = b.weight("fc.weight", [4, 4]);
  const h = b.op("MatMul", [b.input("x", ["batch", 4]), w], "h");
  b.output(
    b.op("MatMul", [b.op("Relu", [b.op("MatMul", [h, w], "k")], "r"), b.weight("out.weight", [4, 2])], "y"),
  );
  const model = Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
  const said: string[] = [];
  const adapted = await addAdapters(model, { include: /^h$/, onMessage: (text) => said.push(text) });
  expect(markedNames(adapted)).toEqual(["h", "k"]);
  expect(said[0]).toBe('"k" and "h" read one weight the same way, so an adapter acts on both');
  // Training keeps it one, though its B begins with zeros: folded into the weight, it acts on both.
  const options = {
    batch: 3,
    lora: { rank: 2, include: /^h$/ },
    penalties: [],
    objective: meanSquaredError(),
  };
  const trainer = await Trainer.create(model, { ...options, learningRate: 0.3 });
  expect(trainer.step.ports.parameters.map(({ name }) => name)).toEqual([
    "fc.weight.lora_A",
    "fc.weight.lora_B",
  ]);
  const samples = arrayDataset(Float32Array.from(x.numbers()), new Float32Array(6), [4]);
  for await (const _ of trainer.fit(samples, { epochs: 3 }));
  const answer = async (one: Model) => (await runModel(encodeModel(one), { x })).y as Tensor;
  const written = (await answer(trainer.export())).numbers();
  expect(Math.max(...written)).not.toBeCloseTo(Math.max(...(await answer(model)).numbers()), 1);
  // The labels are 0.
  const loss = written.reduce((sum, number) => sum + number ** 2, 0) / written.length;
  expect((await trainer.evaluate(samples)).loss).toBeCloseTo(loss, 6);
  await trainer.release();
  await expect(Trainer.create(model, { ...options, untie: /^fc/ })).rejects.toThrow(
    /--untie: "fc.weight" stays one parameter, because an adapter acts on all layers that read a weight/,
  );
  await expect(addAdapters(model, { exclude: /^h$/ })).rejects.toThrow(/acts on both: exclude both, or none/);
});
