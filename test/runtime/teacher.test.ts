import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { namedDataset } from "../../src/data/array-dataset.ts";
import { withConversion } from "../../src/data/conversion.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  buildArtifacts,
  buildStep,
  differentiate,
  evaluateModel,
  Model,
  sgd,
  so,
  Trainer,
  type TrainerOptions,
} from "../../src/index.ts";
import {
  binaryCrossEntropy,
  combined,
  crossEntropy,
  distillation,
  klDivergence,
  meanSquaredError,
} from "../../src/losses/public.ts";
import { parseTerm } from "../../src/losses/text.ts";
import { DataType } from "../../src/onnx/data-types.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { maxDifference } from "../helpers/numbers.ts";
import { fixture, modelFixture } from "../oracles/references.ts";
import { losses } from "./small-run.ts";

const torch = fixture<{
  readonly rate: number;
  readonly samples: number;
  readonly cases: Readonly<Record<string, readonly number[]>>;
}>("teacher/losses.json");
const { samples } = torch;
const student = modelFixture("teacher/student.onnx");
const teacher = modelFixture("teacher/teacher.onnx");
const x = { data: uniform("teacher.x", samples * 5, 2), shape: [5] };
const y = { data: Int32Array.from(labels("teacher.y", samples, 3)), shape: [] };
const data = namedDataset({ inputs: { x }, labels: y });
const plain = { teacher, batch: samples, threads: 1, penalties: [] } satisfies TrainerOptions;
const hinton = distillation({ temperature: 4, alpha: 0.9 });

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-teacher-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("losses of 20 steps beside a teacher are PyTorch's", () => {
  test.each(Object.entries(torch.cases))("%s", async (text, expected) => {
    const trainer = await Trainer.create(student, {
      ...{ ...plain, objective: combined(text.split(" ").map((one) => parseTerm(one))) },
      ...{ optimizer: sgd(), learningRate: torch.rate },
    });
    const found = await losses(trainer, data, { epochs: expected.length });
    await trainer.release();
    expect(maxDifference(found, expected)).toBeLessThan(1e-5);
  });
});

test("the teacher is a constant of the step: each weight once, without a gradient, a statistic or a mask", async () => {
  const { ports, model } = await buildStep(student, { ...plain, objective: hinton });
  expect(ports.parameters.map(({ name }) => name)).toEqual([
    ...["body.weight", "body.bias", "classes.weight", "classes.bias"],
  ]);
  expect({ statistics: ports.statistics, masks: ports.masks }).toEqual({ statistics: [], masks: [] });
  const weights = (model.proto.graph?.initializer ?? []).map(({ name }) => name);
  const ofTeacher = ["body.weight", "body.bias", "norm.weight", "norm.bias", "norm.running_mean"];
  for (const name of ofTeacher) expect(weights.filter((one) => one?.endsWith(name))).toHaveLength(1);
  const { model: gradients } = await differentiate(student, { ...plain, objective: hinton });
  const outputs = (gradients.proto.graph?.output ?? []).map(({ name }) => name);
  expect(outputs).toEqual(expect.arrayContaining(["loss", "body.weight_grad", "classes.bias_grad"]));
  expect(outputs.filter((name) => name?.includes("teacher"))).toEqual([]);
  // The features are the teacher's, which no loss reads.
  expect(weights.filter((name) => name?.includes("features"))).toEqual([]);
});

describe("an evaluation compares with the labels", () => {
  test.each([
    ["distillation", hinton],
    ["a distillation without labels", distillation()],
    ["kl", klDivergence()],
    ["mse of scores", meanSquaredError()],
    [
      "a sum",
      combined([
        { objective: distillation(), weight: 0.7 },
        { objective: crossEntropy(), weight: 0.3 },
      ]),
    ],
  ])("%s", async (_, objective) => {
    const trainer = await Trainer.create(student, { ...plain, objective, metrics: ["f1", "auc"] });
    await losses(trainer, data, { epochs: 2 });
    const found = await trainer.evaluate(data);
    const expected = await evaluateModel(trainer.export(), data, { batch: samples, metrics: ["f1", "auc"] });
    await trainer.release();
    expect(found.loss).toBeCloseTo(expected.loss, 6);
    expect(found.accuracy).toBe(expected.accuracy);
    expect(found.metrics).toEqual(expected.metrics);
  });

  test("or with the teacher, where there are none", async () => {
    const unlabelled = namedDataset({ inputs: { x } });
    const trainer = await Trainer.create(student, { ...plain, objective: distillation({ temperature: 2 }) });
    const [first] = await losses(trainer, unlabelled, { epochs: 1 });
    const fresh = await Trainer.create(student, { ...plain, objective: distillation({ temperature: 2 }) });
    expect((await fresh.evaluate(unlabelled)).loss).toBeCloseTo(first ?? 0, 5);
    await trainer.release();
    await fresh.release();
  });
});

/** Many options at once. */
const everything: TrainerOptions = {
  ...{ ...plain, batch: 4, objective: hinton, teacherOutput: "logits", output: "logits", seed: 5 },
  ...{ lora: { rank: 2, alpha: 4 }, penalties: [{ penalty: so(), weight: 0.1 }], stepsPerRun: 2 },
  ...{ mixup: 0.4, ema: 0.9, recompute: true, precision: "mixed:init-scale=1024", metrics: ["f1"] },
};

/** Trains to the third of nine steps and leaves a checkpoint. @returns the losses */
async function stopped(model: Model, options: TrainerOptions, where: string): Promise<number[]> {
  const trainer = await Trainer.create(model, options);
  const before = await losses(trainer, data, { epochs: 3, maxSteps: 3, checkpoint: where });
  await trainer.release();
  return before;
}

describe("a run with a teacher that was stopped", () => {
  test.each([
    ["alone", { ...plain, batch: 4, objective: hinton }],
    ["with many options", everything],
  ])("%s goes on with its folder, bit for bit", async (name, options) => {
    const whole = await Trainer.create(student, options);
    const expected = await losses(whole, data, { epochs: 3 });
    const where = join(folder, name);
    const before = await stopped(student, options, where);
    const resumed = await Trainer.resume(where);
    const after = await losses(resumed, data, { epochs: 3, maxSteps: 9 });
    expect([...before, ...after]).toEqual(expected);
    expect(resumed.export().bytes).toEqual(whole.export().bytes);
    expect(await resumed.evaluate(data)).toEqual(await whole.evaluate(data));
    await whole.release();
    await resumed.release();
  });

  test("refuses another teacher, and a copy that was changed", async () => {
    const where = join(folder, "changed");
    await stopped(student, { ...plain, objective: hinton }, where);
    await expect(Trainer.resume(where, { teacher: student })).rejects.toThrow(
      /is another model than the one with which the run was begun/,
    );
    await copyFile("test/fixtures/teacher/student.onnx", join(where, "teacher/model.onnx"));
    await expect(Trainer.resume(where)).rejects.toThrow(/copy of its teacher .* was changed/);
    await (await Trainer.resume(where, { teacher })).release();
  });
});

/** Scores of images [3, 2, 2], which a model takes in the given shape. Its weights are the same each time. */
function scorer(shape: readonly (number | string)[], type: "float" | "float16" = "float", width = 3): Model {
  const b = new GraphBuilder(17);
  let value = b.input("image", shape, type);
  if (type !== "float") value = b.op("Cast", [value], "floats", { to: DataType.float });
  if (shape.at(-1) === 3) value = b.op("Transpose", [value], "first", { perm: [0, 3, 1, 2] });
  const rows = b.op("Flatten", [value], "rows");
  const graph = b.output(b.op("MatMul", [rows, b.weight("w", [12, width])], "scores"));
  return Model.fromProto(graphToProto(graph, { irVersion: 8 }));
}
const images = { data: uniform("images", 4 * 12), shape: [3, 2, 2] };
const ofImages = { objective: meanSquaredError(), batch: 4, penalties: [] } satisfies TrainerOptions;

test.each([
  ["the same samples", ["n", 3, 2, 2], "float"],
  ["half floats", ["n", 3, 2, 2], "float16"],
  ["flat samples", ["n", 12], "float"],
  ["channels last", ["n", 2, 2, 3], "float"],
] as const)("a teacher that takes %s reads the model's input", async (_, shape, type) => {
  const trainer = await Trainer.create(scorer(["batch", 3, 2, 2]), {
    ...ofImages,
    teacher: scorer(shape, type),
  });
  const [first] = await losses(trainer, namedDataset({ inputs: { images } }), { epochs: 1 });
  await trainer.release();
  // Both have the same weights, and so the same scores.
  expect(first).toBeLessThan(1e-5);
});

describe("is refused", () => {
  const options: TrainerOptions = { ...plain, objective: hinton };
  const scaled = withConversion(teacher, { version: 1, normalize: "0..1" });
  const { teacher: _, ...alone } = options;
  test.each<[string, Model, TrainerOptions, RegExp]>([
    ["a loss that reads labels only", student, { ...plain, objective: crossEntropy() }, /no loss reads it/],
    ["a model's own loss", student, { ...plain, loss: "logits" }, /needs a loss that compares both models/],
    [
      "an unknown output",
      student,
      { ...options, teacherOutput: "scores" },
      /the teacher: .* no value "scores"/,
    ],
    [
      "a value of another shape",
      student,
      { ...options, teacherOutput: "features" },
      /"features" of the teacher/,
    ],
    ["alpha without a teacher", student, alone, /alpha 0.9 .* give the teacher as a model/],
    [
      "an output without a teacher",
      student,
      { ...alone, teacherOutput: "x" },
      /there is none: give the model/,
    ],
    ["another scale of the samples", student, { ...options, teacher: scaled }, /give --normalize 0..1/],
    [
      "another input",
      scorer(["n", 3, 2, 2]),
      options,
      /takes "x" \[batch, 5\], the model "image" \[12, 3, 2, 2\]/,
    ],
    [
      "labels beside a teacher's values",
      student,
      { ...plain, objective: combined([{ objective: klDivergence(), teacher: "logits", labels: "y" }]) },
      /given both labels/,
    ],
  ])("%s", async (_name, model, given, message) => {
    const run = async () => {
      const trainer = await Trainer.create(model, given);
      await losses(trainer, data, { epochs: 1 }).finally(() => trainer.release());
    };
    await expect(run()).rejects.toThrow(message);
  });

  test("by files of the training API", async () => {
    await expect(buildArtifacts(student, { ...plain, objective: hinton })).rejects.toThrow(
      /leave the teacher out/,
    );
  });
});

test.each([
  ["mse", meanSquaredError()],
  ["bce", binaryCrossEntropy()],
])("beside a teacher, several labels a sample are compared as %s compares them", async (_, objective) => {
  const each = Int32Array.from(labels("teacher.each", samples * 3, 2));
  const several = namedDataset({ inputs: { x }, labels: { data: each, shape: [3] } });
  const trainer = await Trainer.create(student, { ...plain, objective });
  const { loss } = await trainer.evaluate(several);
  await trainer.release();
  expect(loss).toBeCloseTo((await evaluateModel(student, several, { objective })).loss, 6);
});
