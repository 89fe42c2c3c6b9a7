import { UsageError } from "../errors.ts";
import type { Objective } from "../losses/objective.ts";
import { elementCount } from "../onnx/tensor.ts";
import { isWide } from "../onnx/tensor-data.ts";
import { permutation, randomStream } from "../random.ts";
import { epochOrder } from "./batches.ts";
import {
  type BatchArray,
  type Column,
  type Dataset,
  datasetOfColumns,
  type Filled,
  isPending,
  type TrainingPass,
} from "./dataset.ts";

/** Name of the array that says which places of a sample hold tokens. */
export const attention = "attention_mask";

/** Texts of a dataset by the lengths to which they are padded. */
export interface TextBuckets {
  /** Lengths, ascending; the last is that of the samples. */
  readonly lengths: readonly number[];
  /** The bucket of each sample, as an index of {@link lengths}: the first that has room for its tokens. */
  readonly bucketOf: Uint16Array;
}

/**
 * Reads how many tokens each sample has.
 * @param lengths - ascending; the last is that of the samples
 * @throws UsageError for data without padding or with padding on the left, and for samples of another length
 */
export async function textBuckets(dataset: Dataset, lengths: readonly number[]): Promise<TextBuckets> {
  const mask = dataset.inputs?.get(attention);
  const most = lengths.at(-1) ?? 0;
  if (dataset.inOrder) {
    throw new UsageError(
      `${dataset.name} makes its samples one after another: buckets need samples in any order`,
    );
  }
  if (!mask) {
    throw new UsageError(
      `${dataset.name} has no ${attention}, so that no text has padding to leave out: leave buckets out (--buckets)`,
    );
  }
  if (mask.shape.at(-1) !== most) {
    throw new UsageError(
      `${dataset.name}: samples have ${mask.shape.at(-1)} tokens, and the last bucket has ${most}: the last is to be the length of the samples`,
    );
  }
  const places = elementCount(mask.shape);
  const tokens = new Uint32Array(dataset.size);
  const rows = Math.max(1, Math.floor(65_536 / places));
  let isPadded = false;
  for (let first = 0; first < dataset.size; first += rows) {
    const count = Math.min(rows, dataset.size - first);
    const values = new Float64Array(count * places);
    await mask.fill(
      Array.from({ length: count }, (_, i) => first + i),
      values,
    );
    for (const [at, value] of values.entries()) {
      const sample = first + Math.floor(at / places);
      if (value === 0) isPadded = true;
      else tokens[sample] = Math.max(tokens[sample] ?? 0, (at % most) + 1);
    }
  }
  if (isPadded && tokens.every((end) => end === most || end === 0)) {
    throw new UsageError(
      `${dataset.name} is padded on the left, where a text's numbers depend on the padding: leave buckets out (--buckets), or pad on the right (padding_side in tokenizer_config.json)`,
    );
  }
  return { lengths, bucketOf: Uint16Array.from(tokens, (end) => lengths.findIndex((one) => one >= end)) };
}

/**
 * The order in which an epoch visits the samples: those that {@link epochOrder} would train on, in whole batches of one bucket
 * each, which come in a random order. Samples that fill no batch of their bucket go to the next longer one.
 */
export function orderInBuckets(
  dataset: Dataset,
  { lengths, bucketOf }: TextBuckets,
  { batch, seed, epoch }: { readonly batch: number; readonly seed: number; readonly epoch: number },
): Uint32Array {
  const order = epochOrder(dataset, seed, epoch);
  const trained = order.subarray(0, order.length - (order.length % batch));
  if (lengths.length === 1) return trained;
  let waiting: number[] = [];
  const batches = lengths.flatMap((_, bucket) => {
    for (const sample of trained) if (bucketOf[sample] === bucket) waiting.push(sample);
    const whole = Math.floor(waiting.length / batch);
    const made = Array.from({ length: whole }, (_, i) => waiting.slice(i * batch, (i + 1) * batch));
    waiting = waiting.slice(whole * batch);
    return made;
  });
  const places = permutation(randomStream("buckets", seed, epoch), batches.length);
  return Uint32Array.from([...places].flatMap((place) => batches[place] ?? []));
}

/** All samples by the lengths of their buckets, each bucket in the order of the dataset. */
export function orderByLength({ lengths, bucketOf }: TextBuckets): Uint32Array {
  const order = lengths.flatMap((_, bucket) =>
    [...bucketOf.keys()].filter((sample) => bucketOf[sample] === bucket),
  );
  return Uint32Array.from(order);
}

/** How many samples each bucket holds, as a message. */
export function bucketsText({ name, size }: Dataset, { lengths, bucketOf }: TextBuckets): string {
  const counts = lengths.map((length, bucket) => ({
    length,
    count: bucketOf.reduce((sum, own) => (own === bucket ? sum + 1 : sum), 0),
  }));
  const most = counts.map(({ length, count }) => `${count.toLocaleString("en-US")} of up to ${length}`);
  return `${name}: ${size.toLocaleString("en-US")} samples by the tokens of their bucket: ${most.join(", ")}`;
}

/** A loss with the arrays that it reads. */
export interface LabelledTerm {
  readonly labels?: string | undefined;
  readonly mask?: string | undefined;
  readonly objective?: unknown;
}

/** @throws UsageError for labels of padding that a bucket leaves out, if they count in one of the losses */
export async function checkLabels(
  dataset: Dataset,
  { lengths, bucketOf }: TextBuckets,
  terms: readonly LabelledTerm[],
): Promise<void> {
  const most = lengths.at(-1) ?? 0;
  for (const { labels: name, mask, objective } of terms) {
    const labels = (name !== undefined && dataset.inputs?.get(name)) || dataset.labels;
    if (!labels?.shape.includes(most)) continue;
    const places = elementCount(labels.shape);
    const masking = mask === undefined ? undefined : dataset.inputs?.get(mask);
    const { ignoreIndex } = (objective as Partial<Objective> | undefined)?.options ?? {};
    const counts = (label: number) => labels.type === "float" || (label >= 0 && label !== ignoreIndex);
    for (const [sample, bucket] of bucketOf.entries()) {
      const length = lengths[bucket] ?? most;
      if (length === most) continue;
      const values = new Float64Array(places);
      const masks = masking && new Float64Array(elementCount(masking.shape));
      await labels.fill([sample], values);
      if (masks) await masking.fill([sample], masks);
      const isRead = (at: number) => masks?.length !== places || (masks[at] ?? 0) > 0;
      const at = values.findIndex((label, i) => i % most >= length && counts(label) && isRead(i));
      if (at < 0) continue;
      throw new UsageError(
        `${dataset.name}: sample ${sample} has a label at place ${at % most}, which is padding, and it counts in the loss: leave buckets out (--buckets), or give padding a label that is ignored (--ignore-index)`,
      );
    }
  }
}

/** The bucket of a batch: the first that has room for all its samples. */
export const bucketOfBatch = ({ bucketOf }: TextBuckets, samples: ArrayLike<number>): number =>
  Math.max(0, ...Array.from(samples, (sample) => bucketOf[sample] ?? 0));

/**
 * A dataset whose samples have fewer places; their numbers among all samples stay.
 * @param isCut - whether an array has one number (or several) for each place
 */
export function cutTo(
  dataset: Dataset,
  { lengths }: TextBuckets,
  length: number,
  isCut: (column: Pick<Column, "name" | "shape">) => boolean,
): Dataset {
  const most = lengths.at(-1) ?? length;
  const cut = (column: Column): Column => (isCut(column) ? cutColumn(column, most, length) : column);
  const columns = [...(dataset.inputs?.values() ?? [])].map(cut);
  return {
    ...dataset,
    ...datasetOfColumns(dataset.name, dataset.size, columns, dataset.labels && cut(dataset.labels)),
  };
}

/** A column with the first places of each sample. */
function cutColumn(column: Column, most: number, length: number): Column {
  const width = elementCount(column.shape);
  const write = (values: Float64Array, target: BatchArray) => {
    for (let row = 0; row * most < values.length; row++) {
      const kept = values.subarray(row * most, row * most + length);
      if (isWide(target)) {
        for (const [i, value] of kept.entries()) target[row * length + i] = BigInt(value);
      } else target.set(kept, row * length);
    }
  };
  return {
    ...column,
    shape: [...column.shape.slice(0, -1), length],
    range: () => column.range(),
    fill(indices: ArrayLike<number>, target: BatchArray, pass?: TrainingPass): Filled {
      const values = new Float64Array(indices.length * width);
      const filled = column.fill(indices, values, pass);
      return isPending(filled) ? filled.then(() => write(values, target)) : write(values, target);
    },
  };
}
