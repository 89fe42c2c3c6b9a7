import { DataError, UsageError } from "../errors.ts";
import { anyNumber, checkNumber } from "../numbers.ts";
import { permutation, randomStream } from "../random.ts";
import { whatIs } from "../what-is.ts";
import { checkDataset } from "./check-dataset.ts";
import { type Dataset, subset } from "./dataset.ts";

/**
 * 0 … count−1 in a random order that depends only on the seed and the epoch, on every machine. Each epoch has its own
 * stream of random numbers, so that a run can resume at any epoch without history.
 *
 * @param seed - an integer
 * @param epoch - counted from 0
 */
export const shuffledIndices = (seed: number, epoch: number, count: number): Uint32Array =>
  permutation(randomStream("order", seed, epoch), count);

/**
 * The order in which an epoch of training visits the samples, each once: every reader of training samples asks here. Random,
 * but for samples that come one after another. Its first {@link stepsPerEpoch} whole batches are trained on; the rest, less
 * than a batch, is left out, and other samples are in the next epoch.
 * @param epoch - counted from 0
 */
export const epochOrder = (
  { size, inOrder }: Pick<Dataset, "size" | "inOrder">,
  seed: number,
  epoch: number,
): Uint32Array =>
  inOrder ? Uint32Array.from({ length: size }, (_, i) => i) : shuffledIndices(seed, epoch, size);

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

export interface EvaluationBatch {
  /** Always of length `batch`: after the first `count` it repeats the last sample, to fill a fixed batch size. */
  readonly indices: Uint32Array;
  /** Number of samples that count. */
  readonly count: number;
}

/** How many samples an evaluation counts: all, or those in whole batches. */
export const evaluatedSamples = (size: number, batch: number, onlyWhole: boolean): number =>
  onlyWhole ? size - (size % batch) : size;

/**
 * The samples of a dataset in order, each counted exactly once.
 * @param onlyWhole - leaves the last, partial batch out
 * @param order - of all samples; default: as they are
 */
export function* evaluationBatches(
  dataset: Dataset,
  batch: number,
  onlyWhole = false,
  order?: ArrayLike<number>,
): Generator<EvaluationBatch> {
  const samples = evaluatedSamples(dataset.size, batch, onlyWhole);
  for (let start = 0; start < samples; start += batch) {
    const count = Math.min(batch, samples - start);
    const sample = (at: number) => order?.[at] ?? at;
    const indices = Uint32Array.from({ length: batch }, (_, i) => sample(start + Math.min(i, count - 1)));
    yield { indices, count };
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
  checkDataset(dataset);
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

/**
 * The samples that a run trains on. What is measured before or after its steps is measured on these alone, so that held-out
 * samples stay unseen.
 */
export const trainedSamples = (
  dataset: Dataset,
  {
    validation = 0,
    seed = 0,
  }: { readonly validation?: number | undefined; readonly seed?: number | undefined },
): Dataset => (validation === 0 ? dataset : splitValidation(dataset, validation, seed).train);

/** The samples that {@link splitValidation} keeps for training, and those that it holds out; both in order. */
export function splitRows(
  name: string,
  size: number,
  fraction: number,
  seed: number,
): { train: Uint32Array; validation: Uint32Array } {
  if (!(typeof fraction === "number" && fraction > 0 && fraction < 1)) {
    throw new UsageError(`the validation fraction is ${whatIs(fraction)}; it must lie between 0 and 1`);
  }
  checkNumber("the seed", seed, anyNumber);
  if (size < 2) throw new DataError(`${name}: ${size} samples cannot be split for validation`);
  const held = Math.min(Math.max(Math.round(size * fraction), 1), size - 1);
  const order = permutation(randomStream("validation", seed), size);
  return { train: order.slice(held).sort(), validation: order.slice(0, held).sort() };
}

/**
 * The indices of `count` random samples of a dataset, the same ones for each call. They come from all over it, because files are often sorted by
 * class.
 */
export function drawnRows({ size, inOrder }: Pick<Dataset, "size" | "inOrder">, count: number): Uint32Array {
  const rows = shuffledIndices(0, 0, size).slice(0, count);
  return inOrder ? rows.sort() : rows;
}

/** The samples of a dataset that {@link drawnRows} chooses; the dataset itself if it has no more. */
export const drawn = (dataset: Dataset, count: number): Dataset =>
  count >= dataset.size ? dataset : subset(dataset, drawnRows(dataset, count));
