import { elementCount } from "../onnx/tensor.ts";
import { drawnRows, splitRows } from "./batches.ts";
import { type Dataset, mainColumn } from "./dataset.ts";
import type { MeanAndStd } from "./normalize.ts";

/** Samples that are looked at, and how many at a time. */
const [most, chunk] = [4096, 64];

/**
 * Mean and standard deviation of each channel of a dataset's samples, for `--normalize data`; bytes count as 0 … 1. Up to
 * 4096 training samples are read, drawn with a fixed seed.
 * @param split - the share that will be held out for validation, and the seed of the run
 */
export async function channelStatistics(
  dataset: Dataset,
  {
    validation,
    seed = 0,
  }: { readonly validation?: number | undefined; readonly seed?: number | undefined } = {},
): Promise<MeanAndStd> {
  const column = mainColumn(dataset.inputs?.values() ?? []);
  const shape = column?.shape ?? dataset.x.shape;
  const [elements, axis] = [elementCount(shape), channelAxis(shape)];
  const channels = axis === undefined ? 1 : (shape[axis] as number);
  const inner = axis === undefined ? elements : elementCount(shape.slice(axis + 1));
  const rows = validation
    ? splitRows(dataset.name, dataset.size, validation, seed).train
    : Uint32Array.from({ length: dataset.size }, (_, i) => i);
  const drawn = Array.from(
    drawnRows({ size: rows.length, inOrder: dataset.inOrder === true }, most),
    (i) => rows[i] as number,
  );
  const sums = Array.from({ length: channels }, () => ({ first: Number.NaN, sum: 0, squares: 0 }));
  const divisor = column?.bytes ? 255 : 1;
  for (let first = 0; first < drawn.length; first += chunk) {
    const indices = drawn.slice(first, first + chunk);
    const values = new Float32Array(indices.length * elements);
    const labels = new Float64Array(indices.length * elementCount(dataset.y.shape));
    await (column ? column.fill(indices, values) : dataset.fill(indices, values, labels));
    for (let i = 0; i < values.length; i++) {
      const own = sums[channels === 1 ? 0 : Math.floor(i / inner) % channels];
      const value = (values[i] as number) / divisor;
      if (own) {
        // From the first number on, so that sums of squares of numbers far from 0 keep their digits.
        if (Number.isNaN(own.first)) own.first = value;
        const shifted = value - own.first;
        own.sum += shifted;
        own.squares += shifted * shifted;
      }
    }
  }
  const count = (drawn.length * elements) / channels;
  const mean = sums.map(({ first, sum }) => first + sum / count);
  const std = sums.map(
    ({ sum, squares }) => Math.sqrt(Math.max(squares / count - (sum / count) ** 2, 0)) || 1,
  );
  return { mean, std };
}

/** The axis of the channels in an image; undefined for other samples. */
function channelAxis(shape: readonly number[]): number | undefined {
  if (shape.length !== 3) return undefined;
  return [0, 2].find((axis) => (shape[axis] as number) <= 4);
}
