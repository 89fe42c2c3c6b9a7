import { describe, expect, test } from "vitest";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
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
import { equalBytes } from "../../src/onnx/wire.ts";
import { drawn } from "../../src/penalties/draws.ts";
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

test("a resumed run goes on bit for bit", async () => {
  const folder = temporaryFolder();
  const model = modelWith(noises.RandomNormalLike as (b: GraphBuilder, h: Value) => Value);
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

test("what is left to the graph is said", async () => {
  const said: string[] = [];
  const model = modelWith((b, h) => {
    const indices = b.op("Multinomial", [h], "indices", { sample_size: width });
    return b.op("Cast", [indices], "noise", { to: 1 });
  });
  await buildStep(model, { objective: meanSquaredError(), batch, onMessage: (text) => said.push(text) });
  expect(said).toContain(
    'the seed does not decide the random numbers of Multinomial "indices": two runs differ',
  );
});
