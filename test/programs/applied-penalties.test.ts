import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  arrayDataset,
  buildSplitStep,
  buildStep,
  crossEntropy,
  initialState,
  type StepOptions,
  Trainer,
  type TrainerOptions,
} from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { accumulate, adamw, sgd } from "../../src/optimizers/public.ts";
import { drawn } from "../../src/penalties/draws.ts";
import { penaltyNamed } from "../../src/penalties/table.ts";
import type { PenaltyApplication } from "../../src/programs/options.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { maxDifference } from "../helpers/numbers.ts";
import { advanced, opened, type Values } from "../helpers/step-graphs.ts";
import { optimizerOf, type TorchOptimizer } from "../oracles/optimizer-of.ts";
import { fixture, modelFixture, type Summary, summaryError } from "../oracles/references.ts";
import { StepRunner } from "../oracles/step-runner.ts";

interface Case {
  readonly penalty: string;
  readonly weight: number;
  readonly apply: PenaltyApplication;
  readonly optimizer: TorchOptimizer;
  readonly losses: readonly number[];
  readonly penalties: readonly number[];
  readonly parameters: Readonly<Record<string, Summary>>;
}
const { cases } = fixture<{ cases: readonly Case[] }>("applied.json");

/** 20-32-16-10, 8 samples. */
const network = () => modelFixture("training/mlp.onnx");
const [batch, features, classes] = [8, 20, 10];
const objective = crossEntropy();
const plan = (name: string, weight: number) => [{ penalty: penaltyNamed(name), weight }];
const relative = (a: readonly number[], b: readonly number[]) =>
  maxDifference(
    a.map((one, i) => one / (b[i] ?? Number.NaN)),
    a.map(() => 1),
  );

test.each(cases)("twenty steps: $penalty $apply, $optimizer.kind, as in PyTorch", async (one) => {
  const step = await buildStep(network(), {
    ...{ objective, penalties: plan(one.penalty, one.weight), applyPenalties: one.apply },
    optimizer: optimizerOf(one.optimizer),
  });
  const runner = await StepRunner.create(step);
  const results = [];
  for (let i = 0; i < one.losses.length; i++) {
    const [x, y] = [
      uniform(`train.mlp.x.${i}`, batch * features),
      labels(`train.mlp.labels.${i}`, batch, classes),
    ];
    results.push(
      await runner.run(x, y, { learningRate: one.optimizer.lr, penaltyWeight: step.penaltyWeight }),
    );
  }
  const errors = Object.entries(one.parameters).map(([name, expected]) =>
    summaryError(name, runner.state(name), expected),
  );
  await runner.release();
  expect(
    relative(
      results.map(({ loss }) => loss),
      one.losses,
    ),
  ).toBeLessThan(1e-5);
  expect(
    relative(
      results.map(({ penalty }) => penalty),
      one.penalties,
    ),
  ).toBeLessThan(1e-5);
  expect(Math.max(...errors)).toBeLessThan(1e-4);
});

/** A step as a function of its state, from the start. */
async function stepping(options: Omit<StepOptions, "objective">) {
  const step = await buildStep(network(), { objective, ...options });
  const run = await opened(step.model);
  const start = await (await opened(initialState(step)))({});
  const next = async (
    state: Values,
    number: number,
    learningRate: number,
    x?: Float32Array,
  ): Promise<Values> => {
    const fed: Values = {
      x: Tensor.float("x", [batch, features], x ?? uniform(`applied.x.${number}`, batch * features)),
      labels: Tensor.of(
        "labels",
        "int32",
        [batch],
        Int32Array.from(labels(`applied.y.${number}`, batch, classes)),
      ),
      learning_rate: Tensor.float("learning_rate", [], [learningRate]),
      step: Tensor.float("step", [], [number]),
      penalty_weight: Tensor.float("penalty_weight", [], [step.penaltyWeight]),
      ...Object.fromEntries(
        step.ports.draws.map((port) => [port.name, Tensor.float(port.name, port.shape, drawn(port))]),
      ),
    };
    return advanced(state, await run({ ...state, ...fed }));
  };
  return { start, next };
}
const weight = "fc1.weight";
const moved = (from: Values, to: Values, name = weight): number[] =>
  (from[name] as Tensor).numbers().map((one, i) => one - ((to[name] as Tensor).numbers()[i] ?? Number.NaN));

test.each(["so", "srip", "lorth", "mc"])(
  "a retraction by %s is its gradient, whatever the learning rate",
  async (name) => {
    const penalties = plan(name, 0.3);
    const gradient = await stepping({ optimizer: sgd(), penalties });
    const data = await stepping({ optimizer: sgd() });
    const retraction = await stepping({ optimizer: sgd(), penalties, applyPenalties: "retraction" });
    const both = moved(gradient.start, await gradient.next(gradient.start, 1, 1));
    const alone = moved(data.start, await data.next(data.start, 1, 1));
    const found = moved(retraction.start, await retraction.next(retraction.start, 1, 0));
    const expected = both.map((one, i) => one - (alone[i] ?? Number.NaN));
    expect(Math.max(...expected.map(Math.abs))).toBeGreaterThan(1e-3);
    expect(maxDifference(found, expected)).toBeLessThan(1e-5);
  },
);

test.each(["decoupled", "retraction"] as const)(
  "%s: once for each update, and averages see it",
  async (applyPenalties) => {
    const common = { penalties: plan("so", 0.02), applyPenalties };
    const { start, next } = await stepping({ ...common, optimizer: accumulate(2, sgd()), ema: 0 });
    const first = await next(start, 1, 0.1);
    expect(moved(start, first)).toEqual(moved(start, start));
    const second = await next(first, 2, 0.1);
    expect(Math.max(...moved(first, second).map(Math.abs))).toBeGreaterThan(1e-4);
    // An average without a past is the weight itself.
    const average = second[`${weight}.ema`] as Tensor;
    expect(maxDifference(average.numbers(), (second[weight] as Tensor).numbers())).toBeLessThan(1e-7);
  },
);

test("an update that float16 leaves out moves no weight down its penalty", async () => {
  const { start, next } = await stepping({
    ...{ penalties: plan("so", 0.02), applyPenalties: "retraction", optimizer: sgd() },
    precision: "mixed:init-scale=16",
  });
  const skipped = await next(
    start,
    1,
    0.1,
    new Float32Array(batch * features).fill(Number.POSITIVE_INFINITY),
  );
  expect(moved(start, skipped)).toEqual(moved(start, start));
  expect(Math.max(...moved(start, await next(start, 1, 0)).map(Math.abs))).toBeGreaterThan(1e-4);
});

describe("the same bits", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "sorth-applied-"));
  });
  afterAll(() => rm(folder, { recursive: true }));
  const size = 40;
  const data = arrayDataset(
    uniform("applied.x", size * features),
    Int32Array.from(labels("applied.y", size, classes)),
    [features],
  );
  const trained = async (trainer: Trainer, maxSteps: number, checkpoint?: string) => {
    for await (const _ of trainer.fit(data, {
      epochs: 3,
      maxSteps,
      ...(checkpoint !== undefined && { checkpoint }),
    }));
    const { parameters } = trainer.state();
    await trainer.release();
    return [...parameters].map(([name, tensor]) => [name, tensor.numbers()]);
  };

  test.each([
    ["decoupled", "som"],
    ["retraction", "so"],
  ] as const)("in a Loop and after a resume: %s %s", async (applyPenalties, name) => {
    const options: TrainerOptions = {
      ...{ objective, threads: 1, seed: 1, learningRate: 0.02, penalties: plan(name, 0.02), applyPenalties },
      ...{ optimizer: accumulate(2, adamw()), groups: [{ match: /fc2/, freezeUntil: 3 }], ema: 0.5 },
    };
    const single = await trained(await Trainer.create(network(), { ...options, stepsPerRun: 1 }), 11);
    const { applyPenalties: _, ...plain } = options;
    expect(await trained(await Trainer.create(network(), plain), 11)).not.toEqual(single);
    expect(await trained(await Trainer.create(network(), { ...options, stepsPerRun: 4 }), 11)).toEqual(
      single,
    );
    const where = join(folder, applyPenalties);
    await trained(await Trainer.create(network(), options), 4, where);
    expect(await trained(await Trainer.resume(where), 11)).toEqual(single);
  });
});

test.each<[string, Omit<StepOptions, "objective">, RegExp]>([
  [
    "a retraction by responses",
    { penalties: plan("som", 1), applyPenalties: "retraction" },
    /som acts on responses/,
  ],
  ["no penalty", { applyPenalties: "decoupled" }, /has no effect: the run has no penalty/],
  [
    "an unknown way",
    { penalties: plan("so", 1), applyPenalties: "often" as "loss" },
    /takes loss, decoupled or retraction, not "often"/,
  ],
  [
    "responses in half precision",
    { penalties: plan("som", 1), applyPenalties: "decoupled", precision: "mixed" },
    /som acts on responses.*--precision mixed/,
  ],
  [
    "responses that are computed again",
    { penalties: plan("som", 1), applyPenalties: "decoupled", checkpointEvery: "block" },
    /som acts on responses.*--checkpoint-every/,
  ],
  [
    "frozen weights",
    { penalties: plan("so", 1), applyPenalties: "retraction", freeze: /weight/ },
    /no trained weight has a penalty/,
  ],
])("refused: %s", async (_, options, message) => {
  await expect(buildStep(network(), { objective, ...options })).rejects.toThrow(message);
});

test("a step in two graphs says that its penalties are in the loss", async () => {
  const options = { objective, penalties: plan("so", 1), applyPenalties: "retraction" } as const;
  await expect(buildSplitStep(network(), options)).rejects.toThrow(/--apply retraction/);
});
