import { fedInputs } from "../analysis/dimensions.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Model } from "../onnx/model.ts";
import { elementCount } from "../onnx/tensor.ts";
import { isWide } from "../onnx/tensor-data.ts";
import { type BatchArray, type Column, type Dataset, type Filled, isPending, mainColumn } from "./dataset.ts";
import { siameseOf } from "./lengths.ts";
import { isUsual } from "./token-columns.ts";

/** A dataset whose samples are those of another one, each of which holds several inputs of a model. */
export interface Members {
  readonly dataset: Dataset;
  /** Inputs in one sample of the other dataset. */
  readonly siamese: number;
}

/**
 * The inputs of pairs and triplets as samples of their own, as an encoder reads them while a loss of embeddings trains it: sample
 * i·siamese + k is input k of sample i. Labels, and arrays that hold no input, are those of the whole sample.
 * @returns undefined if a sample holds one input
 */
export function membersOf(model: Model, dataset: Dataset): Members | undefined {
  const siamese = siameseOf(model, dataset);
  if (siamese === undefined) return undefined;
  const inputs = fedInputs(graphOf(model));
  const plain = inputs.filter(({ name }) => !isUsual(name));
  const main = dataset.inputs && mainColumn(dataset.inputs.values());
  const isMember = (column: Column) => {
    const own = inputs.find(({ name }) => name === column.name);
    const input = own ?? (column === main && plain.length === 1 ? plain[0] : undefined);
    return input?.declared?.length === column.shape.length && column.shape[0] === siamese;
  };
  const { name, x, y, labels } = dataset;
  const partOf = (column: Column) => columnOf(column, siamese, isMember(column));
  return {
    siamese,
    dataset: {
      ...{ name, y, x: { type: x.type, shape: x.shape.slice(1) } },
      size: dataset.size * siamese,
      ...(dataset.inputs && { inputs: new Map([...dataset.inputs].map(([key, one]) => [key, partOf(one)])) }),
      ...(labels && { labels: columnOf(labels, siamese, false) }),
      fill(indices, targetX, targetY, pass) {
        const { samples, rows } = wholeSamples(indices, siamese);
        const [wholeX, wholeY] = [scratch(samples, x.shape, targetX), scratch(samples, y.shape, targetY)];
        const finish = () => {
          copy(wholeX, targetX, { indices, rows, siamese, width: elementCount(x.shape.slice(1)) });
          copy(wholeY, targetY, { indices, rows, siamese: 1, width: elementCount(y.shape) });
        };
        return after(dataset.fill(samples, wholeX, wholeY, pass), finish);
      },
    },
  };
}

/** A column whose rows are the inputs of a sample, or for each of them that of the whole sample. */
function columnOf(column: Column, siamese: number, isMember: boolean): Column {
  const shape = isMember ? column.shape.slice(1) : column.shape;
  const parts = isMember ? siamese : 1;
  return {
    ...{ ...column, shape },
    fill(indices, target, pass) {
      const { samples, rows } = wholeSamples(indices, siamese);
      const whole = scratch(samples, column.shape, target);
      const finish = () => copy(whole, target, { indices, rows, siamese: parts, width: elementCount(shape) });
      return after(column.fill(samples, whole, pass), finish);
    },
  };
}

/** The samples that hold inputs, each once where its inputs follow one another, and which of them holds each input. */
function wholeSamples(indices: ArrayLike<number>, siamese: number) {
  const samples: number[] = [];
  const rows = Array.from(indices, (index) => {
    const sample = Math.floor(index / siamese);
    if (samples.at(-1) !== sample) samples.push(sample);
    return samples.length - 1;
  });
  return { samples, rows };
}

const scratch = (samples: readonly number[], shape: readonly number[], like: BatchArray): BatchArray => {
  const elements = samples.length * elementCount(shape);
  return isWide(like) ? new BigInt64Array(elements) : new Float64Array(elements);
};

function copy(
  whole: BatchArray,
  target: BatchArray,
  part: {
    readonly indices: ArrayLike<number>;
    readonly rows: readonly number[];
    readonly siamese: number;
    readonly width: number;
  },
): void {
  const { indices, rows, siamese, width } = part;
  for (const [row, sample] of rows.entries()) {
    const from = (sample * siamese + ((indices[row] as number) % siamese)) * width;
    for (let i = 0; i < width; i++) target[row * width + i] = whole[from + i] as never;
  }
}

const after = (filled: Filled, finish: () => void): Filled =>
  isPending(filled) ? filled.then(finish) : finish();
