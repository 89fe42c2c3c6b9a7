import {
  adamw,
  crossEntropy,
  type Dataset,
  decodeModel,
  som,
  Trainer,
  type TrainingEvent,
} from "../src/index.ts";
import { type Contender, type ContenderOptions, own, training } from "./contender.ts";
import { peakMemory } from "./machine.ts";
import { type BenchmarkModel, classes } from "./models.ts";

/** This library as its users run it: the Trainer, with one event per step. It reads the model when it is started. */
export function ownContender(
  { model, regularized, threads }: ContenderOptions,
  backend = "cpu",
  network = "",
): Contender {
  let trainer: Trainer | undefined;
  let events: AsyncGenerator<TrainingEvent, void, undefined> | undefined;
  const next = async (): Promise<number> => {
    const { value } = (await events?.next()) ?? {};
    if (value?.event !== "step") throw new Error(`a step was expected, not ${value?.event}`);
    return value.loss;
  };
  return {
    runtime: own,
    network,
    regularized,
    start: async (steps) => {
      const start = performance.now();
      const data = model();
      trainer = await trainerOf(data, { regularized, threads, backend });
      events = trainer.fit(repeated(data), { epochs: 1 });
      const losses = [await next()];
      const seconds = (performance.now() - start) / 1000;
      while (losses.length < steps) losses.push(await next());
      return { losses, seconds };
    },
    // One run of ONNX Runtime does several steps, and the first event of a run waits for all of them: only whole runs are timed.
    run: async (steps) => {
      const midway = () => trainer?.settled === false;
      while (midway()) await next();
      const start = performance.now();
      let done = 0;
      for (; done < steps || midway(); done++) await next();
      return (performance.now() - start) / done;
    },
    peak: async () => peakMemory(),
    close: async () => trainer?.release(),
  };
}

/** SOM as in bench/torch_step.py, with the weights of the source, which include every term. */
export const penaltiesOf = (regularized: boolean) =>
  regularized ? [{ penalty: som({ lambda1: 100 }), weight: training.penaltyWeight }] : [];

function trainerOf(
  { onnx }: BenchmarkModel,
  { regularized, threads, backend }: { regularized: boolean; threads: number; backend: string },
): Promise<Trainer> {
  const { learningRate, weightDecay } = training;
  return Trainer.create(decodeModel(onnx), {
    objective: crossEntropy(),
    optimizer: adamw({ weightDecay }),
    penalties: penaltiesOf(regularized),
    learningRate,
    backend,
    ...(backend === "cpu" ? { threads } : {}),
  });
}

/** A dataset that repeats the model's only batch, with its rows in order regardless of the requested indices. */
function repeated({ name, x, labels }: BenchmarkModel): Dataset {
  const [batch = 1, ...shape] = x.dims;
  const perSample = labels.length / batch;
  const data = x.data as Float32Array | BigInt64Array;
  const size = data.length / batch;
  const integer = data instanceof BigInt64Array;
  return {
    name,
    // More steps than any run of the benchmark does.
    size: batch * 16_384,
    x: { type: integer ? "integer" : "float", shape },
    y: { type: "integer", shape: perSample === 1 ? [] : [perSample], classes: integer ? 256 : classes },
    fill: (indices, xs, ys) => {
      for (let i = 0; i < indices.length; i++) {
        const row = i % batch;
        (xs as typeof data).set(data.subarray(row * size, (row + 1) * size) as never, i * size);
        (ys as Int32Array).set(labels.subarray(row * perSample, (row + 1) * perSample), i * perSample);
      }
    },
  };
}
