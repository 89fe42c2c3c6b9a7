import { uniformInt } from "pure-rand/distribution/uniformInt";
import type { RandomGenerator } from "pure-rand/types/RandomGenerator";
import { DataError, UsageError } from "../errors.ts";
import { randomStream } from "../random.ts";
import { type Dataset, subset } from "./dataset.ts";

/**
 * 0 … count−1 in a random order that depends only on the seed and the epoch, on every machine. Each epoch has its own
 * stream of random numbers, so that a run can resume at any epoch without history.
 *
 * @param seed - an integer
 * @param epoch - counted from 0
 */
export const shuffledIndices = (seed: number, epoch: number, count: number): Uint32Array =>
  shuffled(randomStream("order", seed, epoch), count);

/** 0 … count−1 in a random order. */
function shuffled(random: RandomGenerator, count: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = uniformInt(random, 0, i);
    const taken = order[j] as number;
    order[j] = order[i] as number;
    order[i] = taken;
  }
  return order;
}

/** Steps of one training epoch, without the last, partial batch. @throws UsageError when no batch is complete */
export function stepsPerEpoch(dataset: Dataset, batch: number): number {
  const steps = Math.floor(dataset.size / batch);
  if (steps === 0) {
    throw new UsageError(
      `${dataset.name}: a batch of ${batch} is larger than the ${dataset.size} training samples; choose a smaller batch`,
    );
  }
  return steps;
}

/** A batch for evaluation. */
export interface EvaluationBatch {
  /** Always of length `batch`: after the first `count` it repeats the last sample, to fill a fixed batch size. */
  readonly indices: Uint32Array;
  /** Number of samples that count. */
  readonly count: number;
}

/** All samples of a dataset in order, each counted exactly once. */
export function* evaluationBatches(dataset: Dataset, batch: number): Generator<EvaluationBatch> {
  for (let start = 0; start < dataset.size; start += batch) {
    const count = Math.min(batch, dataset.size - start);
    yield { indices: Uint32Array.from({ length: batch }, (_, i) => start + Math.min(i, count - 1)), count };
  }
}

/**
 * Holds out a seeded random share of a dataset for validation; at least one sample on each side.
 * @param fraction - share of the samples, more than 0 and less than 1
 * @throws UsageError for a fraction outside that range, SorthError for fewer than two samples
 */
export function splitValidation(
  dataset: Dataset,
  fraction: number,
  seed: number,
): { train: Dataset; validation: Dataset } {
  if (dataset.inOrder) {
    throw new UsageError(
      `${dataset.name} makes its samples anew for each pass, so that a share of them cannot be held out: give validation a dataset of its own`,
    );
  }
  const { train, validation } = splitRows(dataset.name, dataset.size, fraction, seed);
  return {
    train: subset(dataset, train),
    validation: subset(dataset, validation, `${dataset.name} (validation)`),
  };
}

/** The samples that {@link splitValidation} keeps for training, and those that it holds out; both in order. */
export function splitRows(
  name: string,
  size: number,
  fraction: number,
  seed: number,
): { train: Uint32Array; validation: Uint32Array } {
  if (!(fraction > 0 && fraction < 1)) {
    throw new UsageError(`the validation fraction is ${fraction}; it must lie between 0 and 1`);
  }
  if (size < 2) throw new DataError(`${name}: ${size} samples cannot be split for validation`);
  const held = Math.min(Math.max(Math.round(size * fraction), 1), size - 1);
  const order = shuffled(randomStream("validation", seed), size);
  return { train: order.slice(held).sort(), validation: order.slice(0, held).sort() };
}

/** Some samples of a dataset, the same ones for each call, from all over it: files are often sorted by class. */
export function drawn(dataset: Dataset, count: number): Dataset {
  if (count >= dataset.size) return dataset;
  const indices = shuffledIndices(0, 0, dataset.size).slice(0, count);
  return subset(dataset, dataset.inOrder ? indices.sort() : indices);
}
