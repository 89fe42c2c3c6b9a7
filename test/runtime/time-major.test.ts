import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { zipSync } from "fflate";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  arrayDataset,
  buildStep,
  crossEntropy,
  evaluateModel,
  Model,
  meanSquaredError,
  predict,
  Trainer,
  type TrainerOptions,
} from "../../src/index.ts";
import { ownLoss } from "../../src/losses/public.ts";
import { cli, temporaryFolder } from "../cli/run-cli.ts";
import { npyBytes } from "../data/npy-bytes.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats, randomInts } from "../helpers/numbers.ts";

// Recurrent networks give scores [time, samples, classes], and labels are [samples, time]: losses, figures and predictions
// read the scores with their samples first, where it can be proved which axis counts them.

const [time, features, classes, samples, batch] = [6, 4, 3, 24, 8];

type Dims = readonly (string | number)[];
interface Form {
  readonly x: Dims;
  readonly y?: Dims;
  /** Inputs are [samples, time, …], and only the scores have time first. */
  readonly turns?: boolean;
  readonly flat?: "scores" | "states";
}

/** tanh(x·w1)·w2 at every time, in the order of the axes that the form says. */
function network({ x, y, turns = false, flat }: Form): Model {
  const b = new GraphBuilder(17);
  const given = b.input("x", x);
  const input = turns ? b.op("Transpose", [given], "turned", { perm: [1, 0, 2] }) : given;
  const states = b.op("Tanh", [b.op("MatMul", [input, b.weight("w1", [features, 5])], "h")], "states");
  const rows = (value: typeof states, width: number) =>
    b.op("Reshape", [value, b.int64(`rows of ${width}`, [-1, width])], `rows${width}`);
  const read = flat === "states" ? rows(states, 5) : states;
  const scores = b.op("MatMul", [read, b.weight("w2", [5, classes])], "scores");
  const result = flat === "scores" ? rows(scores, classes) : scores;
  b.output(result);
  if (y) Object.assign(result, { declared: y, type: "float" });
  return Model.fromBytes(Model.fromProto(graphToProto(b.graph, { irVersion: 8 })).bytes);
}

const timeFirst = ["time", "batch", features];
const forms: Record<string, Form> = {
  "by names": { x: timeFirst, y: ["time", "batch", classes] },
  "by names, with a fixed time": { x: [time, "batch", features], y: [time, "batch", classes] },
  "by names of one letter": { x: ["T", "N", features], y: ["T", "N", classes] },
  "by the only axis that is free": { x: [time, "batch", features] },
  "by lengths, where no name tells": { x: timeFirst, y: ["a", "b", classes] },
  "by names, with samples first in the input": {
    ...{ x: ["batch", "time", features], y: ["time", "batch", classes], turns: true },
  },
  "by the only axis that is free, with samples first in the input": {
    ...{ x: ["batch", time, features], turns: true },
  },
};

const x = Float32Array.from(randomFloats("time-major", samples * time * features));
const labels = Int32Array.from(randomInts("time-major labels", samples * time, 0, classes));
const data = arrayDataset(x, labels, [time, features]);
const options: TrainerOptions = { objective: crossEntropy({ classAxis: -1 }), batch, seed: 3 };
const plain = network({ x: ["batch", time, features] });

async function run(model: Model, of: Partial<TrainerOptions> = {}, dataset = data) {
  const dims = { time };
  const open = graphHas(model, "time");
  const named = graphHas(model, "T") ? { T: time } : open ? dims : undefined;
  const trainer = await Trainer.create(model, { ...options, ...(named && { dims: named }), ...of });
  const losses: number[] = [];
  for await (const event of trainer.fit(dataset, { epochs: 3 })) {
    if (event.event === "epoch") losses.push(event.loss);
  }
  const figures = await trainer.evaluate(dataset);
  const trained = trainer.export();
  await trainer.release();
  return { losses, figures, trained };
}

const graphHas = (model: Model, name: string): boolean =>
  (model.proto.graph?.input ?? []).some(({ type }) =>
    type?.tensorType?.shape?.dim?.some(({ dimParam }) => dimParam === name),
  );

describe.each(Object.entries(forms))("samples are found %s", (_, form) => {
  test("a run, its figures, an evaluation and predictions are those of the model with its samples first", async () => {
    const [expected, found] = [await run(plain), await run(network(form))];
    for (const [i, loss] of expected.losses.entries()) expect(found.losses[i]).toBeCloseTo(loss, 5);
    expect(found.figures.accuracy).toBeCloseTo(expected.figures.accuracy ?? Number.NaN, 10);
    expect(found.figures.loss).toBeCloseTo(expected.figures.loss, 5);
    const evaluated = await evaluateModel(found.trained, data, {
      objective: options.objective as never,
      batch,
    });
    expect(evaluated.loss).toBeCloseTo(expected.figures.loss, 5);
    expect(evaluated.accuracy).toBeCloseTo(expected.figures.accuracy ?? Number.NaN, 10);
    const answers = async (model: Model) => {
      const all: number[][] = [];
      const asked = { objective: crossEntropy({ classAxis: -1 }), batch };
      for await (const { answers = [] } of predict(model, data, asked)) all.push([...answers]);
      return all;
    };
    expect(await answers(found.trained)).toEqual(await answers(expected.trained));
  });
});

test("where only another batch tells, because the time is a multiple of the batch", async () => {
  const of = { batch: 3, seed: 4 };
  const [expected, found] = [
    await run(plain, of),
    await run(network({ x: timeFirst, y: ["a", "b", classes] }), of),
  ];
  expect(found.figures.loss).toBeCloseTo(expected.figures.loss, 5);
  const asked = { objective: crossEntropy({ classAxis: -1 }), batch: 3 };
  expect((await evaluateModel(found.trained, data, asked)).loss).toBeCloseTo(expected.figures.loss, 5);
});

test("where nothing proves it, a run says so, and what it says helps", async () => {
  const b = new GraphBuilder(17);
  const read = b.op("Reshape", [b.input("x", timeFirst), b.int64("fixed", [time, 3, features])], "fixed x");
  const y = b.op("MatMul", [read, b.weight("w", [features, classes])], "y");
  b.output(y);
  const made = (declared: Dims) => {
    Object.assign(y, { declared, type: "float" });
    return Model.fromBytes(Model.fromProto(graphToProto(b.graph, { irVersion: 8 })).bytes);
  };
  const message =
    "nothing says which axis counts the 3 samples: name its axes in the file as those of the inputs";
  await expect(run(made(["a", "b", classes]), { batch: 3 })).rejects.toThrow(message);
  const asked = { objective: crossEntropy({ classAxis: -1 }), batch: 3 };
  await expect(evaluateModel(made(["a", "b", classes]), data, asked)).rejects.toThrow(message);
  const { figures } = await run(made(["time", "batch", classes]), { batch: 3 });
  expect(figures.loss).toBeGreaterThan(0);
});

test("targets of numbers are read alike", async () => {
  const targets = Float32Array.from(randomFloats("time-major targets", samples * time * classes));
  const numbers = arrayDataset(x, targets, [time, features], { targetShape: [time, classes] });
  const mse = { objective: meanSquaredError() };
  const expected = await run(plain, mse, numbers);
  const found = await run(network({ x: timeFirst, y: ["time", "batch", classes] }), mse, numbers);
  expect(found.figures.loss).toBeCloseTo(expected.figures.loss, 5);
});

test("a loss of the user's own, and a step for a loop of the user's own, read scores as they are", async () => {
  const model = network(forms["by names"] as Form);
  const shapes: (readonly number[])[] = [];
  const own = ownLoss({
    name: "own",
    labels: { type: "int32", shape: ([t = 0, n = 0]) => [n, t] },
    loss: (g, scores) => {
      shapes.push(scores.shape);
      return g.meanOfAll(g.square(scores));
    },
  });
  await run(model, { objective: own });
  expect(shapes[0]).toEqual([time, batch, classes]);
  const { ports } = await buildStep(model, { ...options, dims: { time } });
  expect(ports.labels?.shape).toEqual([time, batch]);
  const turned = await buildStep(model, { ...options, dims: { time }, samplesFirst: true });
  expect(turned.ports.labels?.shape).toEqual([batch, time]);
});

describe("rows that follow each other time by time", () => {
  test("are refused with the value to read, which works", async () => {
    const model = network({ x: timeFirst, flat: "scores", y: ["rows", classes] });
    const message =
      /"rows3" \[48, 3\] holds rows time by time, made of "scores" \[6, 8, 3\].*--prediction scores\b/;
    await expect(run(model)).rejects.toThrow(message);
    const asked = { objective: crossEntropy({ classAxis: -1 }), batch };
    await expect(evaluateModel(model, data, asked)).rejects.toThrow(/--prediction scores\b/);
    const expected = await run(plain);
    const found = await run(model, { output: "scores" });
    expect(found.figures.loss).toBeCloseTo(expected.figures.loss, 5);
    expect((await evaluateModel(found.trained, data, { ...asked, output: "scores" })).loss).toBeCloseTo(
      expected.figures.loss,
      5,
    );
  });

  test("are refused where scores are rows from the beginning", async () => {
    const model = network({ x: timeFirst, flat: "states", y: ["rows", classes] });
    await expect(run(model)).rejects.toThrow("export the model with scores [time, samples, classes]");
  });

  test("are read where they follow each other sample by sample", async () => {
    const model = network({ x: ["batch", time, features], flat: "scores", y: ["rows", classes] });
    const [expected, found] = [await run(plain), await run(model)];
    expect(found.figures.loss).toBeCloseTo(expected.figures.loss, 5);
  });
});

describe("on the command line", () => {
  const folder = temporaryFolder();
  afterAll(() => folder.remove());
  const at = (name: string) => join(folder.path, name);
  beforeAll(() => {
    mkdirSync(folder.path, { recursive: true });
    const y = BigInt64Array.from(labels, BigInt);
    const arrays = {
      "x.npy": npyBytes({ descr: "<f4", shape: [samples, time, features], data: x }),
      "y.npy": npyBytes({ descr: "<i8", shape: [samples, time], data: y }),
    };
    writeFileSync(at("data.npz"), zipSync(arrays));
    writeFileSync(at("model.onnx"), network(forms["by names"] as Form).bytes);
  });

  test("train, evaluate and predict need no flag, and say what they read", async () => {
    const data = ["--data", at("data.npz")];
    const flags = ["--batch", "8", "--epochs", "2", "--no-report"];
    const trained = await cli("train", at("model.onnx"), ...data, ...flags, "-o", at("trained.onnx"));
    expect(trained).toMatchObject({ code: 0 });
    expect(trained.stderr).toContain(
      '"scores" [6, 8, 3] counts its samples on axis 1: the loss reads it as [8, 6, 3]',
    );
    const { code, stdout } = await cli("evaluate", at("trained.onnx"), ...data, "--json");
    expect([code, JSON.parse(stdout).samples]).toEqual([0, samples]);
    const answered = await cli("predict", at("trained.onnx"), ...data, "-o", at("answers.csv"));
    expect(answered).toMatchObject({ code: 0 });
  });
});
