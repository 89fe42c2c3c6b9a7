import Long from "long";
import { describe, expect, test } from "vitest";
import { inferShapes } from "../../src/analysis/infer.ts";
import { Emit } from "../../src/graph/emit.ts";
import { Value } from "../../src/graph/node.ts";
import { graphToProto, valueInfo } from "../../src/graph/proto.ts";
import {
  arrayDataset,
  buildStep,
  evaluateModel,
  Model,
  meanSquaredError,
  Tensor,
  Trainer,
  type TrainerOptions,
} from "../../src/index.ts";
import type { DataTypeName } from "../../src/onnx/data-types.ts";
import { onnx } from "../../src/onnx/schema.js";
import { equalBytes } from "../../src/onnx/wire.ts";
import { runPass } from "../../src/passes/pass.ts";
import { replaceDraws } from "../../src/passes/training/replace-draws.ts";
import { drawn } from "../../src/penalties/draws.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { temporaryFolder } from "../cli/run-cli.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats } from "../helpers/numbers.ts";

// A model that draws random numbers in its forward pass (a variational autoencoder, noise as augmentation): the seed decides
// on them, so that the same seed gives the same bits, also in a resumed run.

const [batch, width] = [8, 4];

function modelWith(noise: (b: GraphBuilder, h: Value) => Value): Model {
  const b = new GraphBuilder(18);
  const weight = (name: string) =>
    b.graph.addInitializer(Tensor.float(name, [width, width], randomFloats(name, width * width)));
  const h = b.op("MatMul", [b.input("x", ["batch", width]), weight("w1")], "h");
  b.output(b.op("MatMul", [b.op("Add", [h, noise(b, h)], "noisy"), weight("w2")], "y"));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
}

const float = (value: number) => ({ kind: "float", value }) as const;
const shape = [batch, width];
const noises: Record<string, (b: GraphBuilder, h: Value) => Value> = {
  RandomNormalLike: (b, h) => b.op("RandomNormalLike", [h], "noise", { scale: float(0.5), mean: float(1) }),
  RandomNormal: (b) => b.op("RandomNormal", [], "noise", { shape, scale: float(2) }),
  RandomUniformLike: (b, h) => b.op("RandomUniformLike", [h], "noise", { low: float(-3), high: float(-1) }),
  RandomUniform: (b) => b.op("RandomUniform", [], "noise", { shape }),
  Bernoulli: (b, h) => b.op("Bernoulli", [b.op("Sigmoid", [h], "p")], "noise"),
  Multinomial: (b, h) =>
    b.op("Cast", [b.op("Multinomial", [h], "indices", { sample_size: width })], "noise", { to: 1 }),
};

const data = arrayDataset(
  Float32Array.from(randomFloats("draws x", 40 * width)),
  Float32Array.from(randomFloats("draws y", 40 * width)),
  [width],
);
const options: TrainerOptions = { objective: meanSquaredError(), batch, seed: 5, learningRate: 0.01 };

async function trained(model: Model, own: Partial<TrainerOptions> = {}, fit = {}): Promise<Uint8Array> {
  const trainer = await Trainer.create(model, { ...options, ...own });
  for await (const _ of trainer.fit(data, { epochs: 4, ...fit }));
  const { bytes } = trainer.export();
  await trainer.release();
  return bytes;
}

describe.each(Object.entries(noises))("%s", (_, noise) => {
  const model = modelWith(noise);

  test("the same seed gives the same bits, another one others, several steps a run the same", async () => {
    const first = await trained(model);
    expect(equalBytes(await trained(model), first)).toBe(true);
    expect(equalBytes(await trained(model, { seed: 6 }), first)).toBe(false);
    expect(equalBytes(await trained(model, { stepsPerRun: 3 }), first)).toBe(true);
  });

  test("an evaluation gives the same figures each time", async () => {
    const trainer = await Trainer.create(model, options);
    const { loss } = await trainer.evaluate(data);
    expect((await trainer.evaluate(data)).loss).toBe(loss);
    await trainer.release();
    const evaluated = async () =>
      (await evaluateModel(model, data, { objective: meanSquaredError(), batch })).loss;
    expect(await evaluated()).toBe(await evaluated());
  });
});

test.each(["RandomNormalLike", "Multinomial"])("a resumed run goes on bit for bit (%s)", async (op) => {
  const folder = temporaryFolder();
  const model = modelWith(noises[op] as (b: GraphBuilder, h: Value) => Value);
  const whole = await trained(model);
  await trained(model, {}, { maxSteps: 7, checkpoint: folder.path });
  const resumed = await Trainer.resume(folder.path);
  for await (const _ of resumed.fit(data, { epochs: 4, maxSteps: 20 }));
  expect(equalBytes(resumed.export().bytes, whole)).toBe(true);
  await resumed.release();
  folder.remove();
});

test("a step's ports say what to feed, and what the graph makes of it", async () => {
  const model = modelWith(noises.RandomUniformLike as (b: GraphBuilder, h: Value) => Value);
  const { ports } = await buildStep(model, { objective: meanSquaredError(), batch });
  expect(ports.draws).toEqual([
    {
      ...{ name: "noise.drawn", type: "float", shape: [1, batch * width], distribution: "uniform" },
      ...{ anew: "step", seed: 2 ** 31, node: "noise", of: [batch, width] },
    },
  ]);
});

test("normal numbers have mean 0 and deviation 1, and differ from step to step and from node to node", () => {
  const of = (seed: number, round: number) =>
    drawn({ distribution: "normal", shape: [1, 20_000], seed, anew: "step" }, { run: 1, round });
  const numbers = of(2 ** 31, 3);
  const mean = numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
  const square = numbers.reduce((sum, one) => sum + one ** 2, 0) / numbers.length;
  const fourth = numbers.reduce((sum, one) => sum + one ** 4, 0) / numbers.length;
  // 4 standard errors of each.
  expect(Math.abs(mean)).toBeLessThan(0.028);
  expect(Math.abs(square - 1)).toBeLessThan(0.04);
  expect(Math.abs(fourth - 3)).toBeLessThan(0.28);
  const correlation = (a: Float32Array, b: Float32Array) =>
    a.reduce((sum, one, i) => sum + one * (b[i] ?? 0), 0) / a.length;
  expect(Math.abs(correlation(numbers, of(2 ** 31, 4)))).toBeLessThan(0.028);
  expect(Math.abs(correlation(numbers, of(2 ** 31 + 1, 3)))).toBeLessThan(0.028);
});

test("two nodes of one shape draw different numbers", async () => {
  const model = modelWith((b, h) =>
    b.op("Add", [b.op("RandomNormalLike", [h], "one"), b.op("RandomNormalLike", [h], "two")], "both"),
  );
  const { ports } = await buildStep(model, { objective: meanSquaredError(), batch });
  const [one, two] = ports.draws.map((port) => drawn(port, { run: 1, round: 1 }));
  expect(ports.draws.map(({ node }) => node)).toEqual(["one", "two"]);
  expect(one).not.toEqual(two);
});

test("Multinomial draws each class as often as its score says, rare ones too, from fed numbers alone", async () => {
  const [samples, draws] = [2, 20_000];
  const scores = [
    [0, -1, 2, -Infinity],
    [-9, 0, 1, 0.5],
  ];
  const b = new GraphBuilder(18);
  b.output(b.op("Multinomial", [b.input("x", [samples, 4])], "y", { sample_size: draws, dtype: 7 }));
  const graph = b.graph;
  await inferShapes(graph, nodeProbe);
  const emit = new Emit(graph, { prefix: "t/" });
  const [port] = await runPass(replaceDraws(), graph, { emit, probe: nodeProbe, onMessage: undefined });
  expect(port).toMatchObject({ of: [samples, draws, 4], distribution: "uniform", node: "y" });
  const multinomial = Model.fromProto(graphToProto(graph, { irVersion: 8 }));
  const x = Tensor.float("x", [samples, 4], scores.flat());
  const feeds = new Map([["x", x]]);
  const counts = [new Float64Array(4), new Float64Array(4)];
  const rounds = 40;
  for (let round = 0; round < rounds; round++) {
    const shape = [1, samples * draws * 4] as const;
    const numbers = drawn({ distribution: "uniform", shape, seed: 1, anew: "step" }, { run: 1, round });
    feeds.set("y.drawn", Tensor.float("y.drawn", shape, numbers));
    const [found] = (await nodeProbe.run(multinomial, feeds)).values();
    expect([found?.type, found?.dims]).toEqual(["int64", [samples, draws]]);
    found?.numbers().forEach((value, i) => {
      const row = counts[Math.floor(i / draws)] as Float64Array;
      row[value] = (row[value] as number) + 1;
    });
  }
  // Of scores −26 and 0, a number of 1e-12 is early enough for the first (27.6 − 26 > 0.4), of −30 and 0 it is not.
  const row = (score: number) => [score, ...new Array<number>(draws * 4 * samples - 1).fill(0)];
  feeds.set(
    "y.drawn",
    Tensor.float(
      "y.drawn",
      [1, draws * 4 * samples],
      row(1e-12).map((u) => u || 0.5),
    ),
  );
  for (const [score, winner] of [
    [-26, 0],
    [-30, 1],
  ] as const) {
    feeds.set("x", Tensor.float("x", [samples, 4], [score, 0, -50, -50, 0, 0, 0, 0]));
    const [found] = (await nodeProbe.run(multinomial, feeds)).values();
    expect(found?.numbers()[0]).toBe(winner);
  }
  const all = rounds * draws;
  for (const [row, own] of scores.entries()) {
    const exponentials = own.map(Math.exp);
    const sum = exponentials.reduce((a, one) => a + one, 0);
    for (const [value, exponential] of exponentials.entries()) {
      const share = exponential / sum;
      // 4 standard errors; the rarest class comes about 18 times in 800,000.
      const error = Math.abs((counts[row]?.[value] ?? 0) - all * share);
      expect(error).toBeLessThanOrEqual(4 * Math.sqrt(all * share * (1 - share)));
    }
  }
});

/** A body of one node that reads h, beside a constant that says true. */
function body(name: string, node: { opType: string; input: string[] }, inputs: onnx.ValueInfoProto[] = []) {
  const output = [{ name: `${name} result` }];
  const is = new onnx.NodeProto({ opType: "Constant", output: ["is"], attribute: [flag] });
  const nodes = [is, new onnx.NodeProto({ ...node, output: [`${name} result`] })];
  return { kind: "graph" as const, value: new onnx.GraphProto({ name, node: nodes, input: inputs, output }) };
}
const flag = new onnx.AttributeProto({
  ...{ name: "value", type: onnx.AttributeProto.AttributeType.TENSOR },
  t: new onnx.TensorProto({ dataType: 9, dims: [], rawData: Uint8Array.of(1) }),
});

/** h in one of two branches, of which data decide. */
const branched = (node: { opType: string; input: string[] }) =>
  modelWith((b, h) => {
    const top = b.op("ReduceMax", [h], "top", { keepdims: 0 });
    const isLarge = b.op("Greater", [top, b.graph.addInitializer(Tensor.float("one", [], [1]))], "large");
    const branches = {
      then_branch: body("then", node),
      else_branch: body("else", { opType: "Neg", input: ["h"] }),
    };
    return b.op("If", [isLarge], "noise", branches);
  });

test("what is left to the graph is said: what a branch draws that data choose", async () => {
  const said: string[] = [];
  const model = branched({ opType: "RandomNormalLike", input: ["h"] });
  await buildStep(model, { objective: meanSquaredError(), batch, onMessage: (text) => said.push(text) });
  expect(said).toContain('the seed does not decide the random numbers of If "noise": two runs differ');
});

test("a Loop that is unrolled and a function that is inlined draw by the seed, other numbers each time", async () => {
  const b = new GraphBuilder(18, { own: 1 });
  const weight = (name: string) =>
    b.graph.addInitializer(Tensor.float(name, [width, width], randomFloats(name, width * width)));
  const h = b.op("MatMul", [b.input("x", ["batch", width]), weight("w1")], "h");
  const trips = b.graph.addInitializer(Tensor.int64("trips", [], [3]));
  const info = (name: string, type: DataTypeName, shape?: number[]) =>
    valueInfo(new Value(name, type, shape));
  const loop = body("trip", { opType: "RandomNormalLike", input: ["state"] }, [
    ...[info("i", "int64", []), info("going", "bool", []), info("state", "float")],
  ]);
  loop.value.output?.unshift(info("is", "bool", []));
  const drawn = b.op("Loop", [trips, null, h], "looped", { body: loop });
  const noisy = b.op("noise", [b.op("Add", [h, drawn], "sum")], "noisy", {}, "own");
  b.output(b.op("MatMul", [noisy, weight("w2")], "y"));
  const proto = graphToProto(b.graph, { irVersion: 8 });
  const nodes = [
    new onnx.NodeProto({ opType: "RandomUniformLike", input: ["v"], output: ["u"] }),
    new onnx.NodeProto({ opType: "Mul", input: ["u", "v"], output: ["uv"] }),
  ];
  const opsets = [new onnx.OperatorSetIdProto({ domain: "", version: Long.fromNumber(18) })];
  const made = {
    name: "noise",
    domain: "own",
    input: ["v"],
    output: ["uv"],
    node: nodes,
    opsetImport: opsets,
  };
  proto.functions = [new onnx.FunctionProto(made)];
  const model = Model.fromProto(proto);
  const said: string[] = [];
  const step = { objective: meanSquaredError(), batch, onMessage: (text: string) => said.push(text) };
  const { ports } = await buildStep(model, step);
  expect(ports.draws.map(({ distribution }) => distribution).sort()).toEqual([
    ...["normal", "normal", "normal", "uniform"],
  ]);
  expect(new Set(ports.draws.map(({ seed }) => seed)).size).toBe(4);
  expect(said.join()).not.toContain("the seed does not decide");
  const first = await trained(model);
  expect(equalBytes(await trained(model), first)).toBe(true);
  expect(equalBytes(await trained(model, { seed: 6 }), first)).toBe(false);
});
