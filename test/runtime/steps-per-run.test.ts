import { describe, expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  adamw,
  arrayDataset,
  buildStep,
  crossEntropy,
  type Dataset,
  initialState,
  Model,
  readModel,
  sgd,
  som,
  Trainer,
  type TrainerOptions,
  type TrainingEvent,
} from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { stepLoop } from "../../src/programs/step-loop.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats, randomInts } from "../helpers/numbers.ts";
import { asDataset, sampleData } from "../helpers/sample-data.ts";

const [features, classes, size] = [8, 3, 200];

const train = arrayDataset(
  randomFloats("steps x", size * features),
  Int32Array.from(randomInts("steps y", size, 0, classes)),
  [features],
);

/** An MLP with BatchNormalization, Dropout and a frozen branch on data, in a body. */
function network(): Model {
  const b = new GraphBuilder(18);
  const x = b.input("x", ["batch", features]);
  let h = b.op("Gemm", [x, b.weight("fc1.weight", [features, 16]), b.weight("fc1.bias", [16])], "fc1");
  const vector = (name: string, value: number) =>
    b.graph.addInitializer(Tensor.float(name, [16], new Float32Array(16).fill(value)));
  h = b.op(
    "BatchNormalization",
    [h, vector("bn.weight", 1), vector("bn.bias", 0), vector("bn.mean", 0), vector("bn.var", 1)],
    "bn",
  );
  const ratio = b.graph.addInitializer(Tensor.float("ratio", [], [0.25]));
  h = b.op("Dropout", [b.op("Relu", [h], "relu"), ratio], "drop");
  b.graph.addOutput(
    b.op("Gemm", [h, b.weight("fc2.weight", [16, classes]), b.weight("fc2.bias", [classes])], "logits"),
  );
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
}

const options: TrainerOptions = {
  ...{ objective: crossEntropy(), batch: 16, learningRate: 1e-2, threads: 1, seed: 3 },
  optimizer: adamw({ weightDecay: 0.1 }),
  penalties: [{ penalty: som({ gamma: 5 }), weight: 0.5, include: /fc1/ }],
  ...{ schedule: "cosine:warmup=5", penaltySchedule: "warmup:steps=10" },
};

const figures = (events: readonly TrainingEvent[]) =>
  events.map(({ event, step, epoch, loss, penalty }) => ({ event, step, epoch, loss, penalty }));

async function run(own: TrainerOptions, dataset: Dataset = train, model = network()) {
  const trainer = await Trainer.create(model, own);
  const events: TrainingEvent[] = [];
  let error = "";
  try {
    for await (const event of trainer.fit(dataset, { epochs: 3, maxSteps: 31 })) events.push(event);
  } catch (caught) {
    error = String(caught);
  }
  const { bytes } = trainer.export();
  const { slots } = trainer.state();
  await trainer.release();
  const moments = [...slots.values()].flatMap((own) => [...own.values()].map((tensor) => tensor.numbers()));
  return { events: figures(events), bytes, moments, error, steps: trainer.steps };
}

describe("several steps in one run", () => {
  test.each([2, 5, 12, 64, "auto"] as const)("%s a run: the bits of single steps", async (stepsPerRun) => {
    const single = await run({ ...options, stepsPerRun: 1 });
    const found = await run({ ...options, stepsPerRun });
    expect(found.events).toEqual(single.events);
    expect(found.moments).toEqual(single.moments);
    expect(equalBytes(found.bytes, single.bytes)).toBe(true);
  });

  test.each(["mlp", "cnn", "pointnet"] as const)("the sample %s with SOM, too", async (name) => {
    const data = asDataset(await sampleData(name, 96));
    const model = await readModel(`models/${name}.onnx`);
    const own = { ...options, penalties: [{ penalty: som(), weight: 0.1 }] };
    const single = await run({ ...own, stepsPerRun: 1 }, data, model);
    const found = await run({ ...own, stepsPerRun: 4 }, data, model);
    expect(found.events).toEqual(single.events);
    expect(equalBytes(found.bytes, single.bytes)).toBe(true);
  });

  test("a loss that is no number in the middle of a run: the steps before it count, the others were never done", async () => {
    let calls = 0;
    const poisoned: Dataset = {
      ...train,
      fill: (rows, x, y) => {
        train.fill(rows, x, y);
        // The eighth step, whichever run it is in.
        const first = calls;
        calls += rows.length / 16;
        if (first <= 7 && 7 < calls) x[(7 - first) * 16 * features] = Number.NaN;
      },
    };
    const own = { ...options, optimizer: sgd({ momentum: 0.9 }) };
    const single = await run({ ...own, stepsPerRun: 1 }, poisoned);
    calls = 0;
    const found = await run({ ...own, stepsPerRun: 5 }, poisoned);
    expect(found.error).toMatch(/became NaN at step 8; the state after step 7 is kept/);
    expect(found.error).toBe(single.error);
    expect(found.events).toEqual(single.events);
    expect(found.steps).toBe(7);
    expect(equalBytes(found.bytes, single.bytes)).toBe(true);
    expect(found.moments).toEqual(single.moments);
  });

  test("whoever looks, stops or leaves between the steps of a run sees the state of that step", async () => {
    const steps = 23;
    const states: unknown[] = [];
    const single = await Trainer.create(network(), { ...options, stepsPerRun: 1 });
    for await (const event of single.fit(train, { epochs: 3, maxSteps: steps })) {
      if (event.event === "step") states.push(single.state());
    }
    const watched = await Trainer.create(network(), { ...options, stepsPerRun: 6 });
    for await (const event of watched.fit(train, { epochs: 3, maxSteps: steps })) {
      if (event.event !== "step") continue;
      expect(watched.steps).toBe(event.step);
      if (event.step === 2)
        expect(() => watched.state()).toThrow(/step 2 is not at hand: await trainer.read/);
      if ([2, 3, 14].includes(event.step)) {
        expect(await watched.readState()).toEqual(states[event.step - 1]);
      }
      if (event.step === 9) await watched.evaluate(train);
      if (event.step === 4) expect(watched.settled).toBe(false);
      if (event.step === 12) expect(watched.settled).toBe(true);
    }
    expect(watched.state()).toEqual(states.at(-1));
    const left = await Trainer.create(network(), { ...options, stepsPerRun: 6 });
    for await (const event of left.fit(train, { epochs: 3, maxSteps: steps })) if (event.step === 4) break;
    expect(left.state()).toEqual(states[3]);
    expect(left.steps).toBe(4);
    const controller = new AbortController();
    for await (const event of left.fit(train, { epochs: 3, maxSteps: steps, signal: controller.signal })) {
      if (event.step === 8) controller.abort();
    }
    expect(left.state()).toEqual(states[7]);
    for await (const _ of left.fit(train, { epochs: 3, maxSteps: steps }));
    expect(left.state()).toEqual(states.at(-1));
    for (const trainer of [single, watched, left]) await trainer.release();
  });

  test("a number of steps that is none is refused", async () => {
    for (const stepsPerRun of [0, 1.5, Number.NaN]) {
      await expect(Trainer.create(network(), { ...options, stepsPerRun })).rejects.toThrow(
        /steps of a run are .*; give a whole number/,
      );
    }
  });
});

test("a loop of one's own: any number of steps a run, scalars as vectors, the state named as in the step", async () => {
  const step = await buildStep(await readModel("models/mlp.onnx"), {
    ...{ objective: crossEntropy(), optimizer: adamw(), penalties: [{ penalty: som() }], batch: 4 },
  });
  const loop = stepLoop(step);
  expect(loop.ports).toEqual({ ...step.ports, count: "steps" });
  const inputs = new Map(
    (loop.model.proto.graph?.input ?? []).map((info) => [info.name, info.type?.tensorType]),
  );
  const dims = (name: string) =>
    inputs.get(name)?.shape?.dim?.map(({ dimParam, dimValue }) => dimParam || Number(dimValue));
  expect(dims("x")).toEqual(["steps", 4, 1, 28, 28]);
  expect(dims("labels")).toEqual(["steps", 4]);
  expect(dims("learning_rate")).toEqual(["steps"]);
  expect(dims("steps")).toEqual([]);
  let state = await nodeProbe.run(initialState(step).bytes, new Map());
  const rows = (name: string, count: number, shape: readonly number[]) =>
    Tensor.float(name, [count, ...shape], randomFloats(name, count * shape.reduce((a, b) => a * b, 1)));
  const [x, labels] = [rows("x", 3, [4, 1, 28, 28]), Int32Array.from(randomInts("y", 12, 0, 10))];
  const feeds = (from: number, count: number) =>
    new Map([
      ...state,
      ["x", Tensor.float("x", [count, 4, 1, 28, 28], x.numbers().slice(from * 3136, (from + count) * 3136))],
      ["labels", Tensor.of("labels", "int32", [count, 4], labels.slice(from * 4, (from + count) * 4))],
      ["learning_rate", Tensor.float("learning_rate", [count], new Array(count).fill(1e-3))],
      ["penalty_weight", Tensor.float("penalty_weight", [count], new Array(count).fill(0.1))],
      [
        "step",
        Tensor.float(
          "step",
          [count],
          Array.from({ length: count }, (_, i) => from + i + 1),
        ),
      ],
      ["steps", Tensor.of("steps", "int64", [], BigInt64Array.of(BigInt(count)))],
    ]);
  const begin = state;
  const whole = await nodeProbe.run(loop.model.bytes, feeds(0, 3));
  expect(whole.get("loss")?.dims).toEqual([3]);
  const losses: number[] = [];
  for (const [from, count] of [
    [0, 1],
    [1, 2],
  ] as const) {
    const results = await nodeProbe.run(loop.model.bytes, feeds(from, count));
    losses.push(...(results.get("loss")?.numbers() ?? []));
    state = new Map(
      [...begin.keys()].map((name) => [name, results.get(`${name}.next`)?.named(name) as Tensor]),
    );
  }
  expect(losses).toEqual(whole.get("loss")?.numbers());
  for (const [name, tensor] of state) {
    expect(tensor.numbers(), name).toEqual(whole.get(`${name}.next`)?.numbers());
  }
});
