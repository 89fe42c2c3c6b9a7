import {
  adamw,
  crossEntropy,
  type Dataset,
  decodeModel,
  som,
  Trainer,
  type TrainingEvent,
} from "../src/index.ts";
import { type Contender, type ContenderOptions, training } from "./contender.ts";
import { type BenchmarkModel, classes } from "./models.ts";
import { own } from "./step-report.ts";

/** This library as its users run it: the Trainer, with one event per step. */
export async function ownContender(
  { model, regularized, threads }: ContenderOptions,
  backend = "cpu",
): Promise<Contender> {
  const { learningRate, weightDecay, penaltyWeight } = training;
  const trainer = await Trainer.create(decodeModel(model.onnx), {
    objective: crossEntropy(),
    optimizer: adamw({ weightDecay }),
    penalties: regularized ? [{ penalty: som({ lambda1: 100 }), weight: penaltyWeight }] : [],
    learningRate,
    backend,
    ...(backend === "cpu" ? { threads } : {}),
  });
  const dataset = repeated(model);
  const events = trainer.fit(dataset, { epochs: 1 });
  const next = async (): Promise<number> => {
    const { value } = (await events.next()) as { value: TrainingEvent };
    if (value?.event !== "step") throw new Error(`${model.name}: a step was expected, not ${value?.event}`);
    return value.loss;
  };
  return {
    runtime: own,
    network: model.name,
    regularized,
    start: async (steps) => {
      const losses = [];
      for (let i = 0; i < steps; i++) losses.push(await next());
      return losses;
    },
    // One run of ONNX Runtime does several steps: the first event of a run waits for all of them.
    run: async (steps) => {
      const start = performance.now();
      for (let i = 0; i < steps; i++) await next();
      return (performance.now() - start) / steps;
    },
    close: () => trainer.release(),
  };
}

/** A dataset that repeats the model's only batch, with its rows in order regardless of the requested indices. */
function repeated({ name, x, labels }: BenchmarkModel): Dataset {
  const numbers = x.data as Float32Array;
  const size = numbers.length / labels.length;
  return {
    name,
    size: labels.length * 10_000,
    x: { type: "float", shape: x.dims.slice(1) },
    y: { type: "integer", shape: [], classes },
    fill: (indices, xs, ys) => {
      for (let i = 0; i < indices.length; i++) {
        const row = i % labels.length;
        (xs as Float32Array).set(numbers.subarray(row * size, (row + 1) * size), i * size);
        (ys as Int32Array)[i] = labels[row] ?? 0;
      }
    },
  };
}
