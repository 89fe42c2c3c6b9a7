import { SorthError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { dimAt, type Shape, shapeText } from "../graph/shapes.ts";
import { elementCount } from "../onnx/tensor.ts";

/**
 * How the embeddings of a sample's tokens `[samples, tokens, units]` become one: `mean` of those that `attention_mask` counts,
 * or the first one (`cls`). An output that is one vector for each sample is taken as it is.
 */
export type Pooling = "mean" | "cls";

/** The options that all losses of embeddings have. */
export interface EmbeddingOptions {
  /** Default `mean`. */
  readonly pooling?: Pooling;
}

/** Names of the poolings. */
export const poolings: readonly Pooling[] = ["mean", "cls"];

/** Whether a sample is several embeddings, [N, embeddings, units], not one, [N, units]. */
export const isGrouped = (prediction: Shape): boolean => prediction.length === 3;

/** @throws SorthError for a prediction that is no embedding, or where a sample has another number of them */
export function checkEmbeddings(
  loss: string,
  prediction: Shape,
  takes: { readonly least: number; readonly most?: number; readonly what: string; readonly single: boolean },
): void {
  const { least, most = Number.POSITIVE_INFINITY, what, single } = takes;
  const count = isGrouped(prediction) ? dimAt(prediction, 1) : 1;
  const fits = isGrouped(prediction) ? count >= least && count <= most : single && prediction.length === 2;
  if (fits) return;
  const own = single ? ", or one embedding a sample with its class as label" : "";
  throw new SorthError(
    `the objective ${loss} needs ${what} of each sample${own}; the model gives ${shapeText(prediction)} (samples, embeddings of a sample, numbers): give pairs of data, or name several outputs with commas (--prediction a,b)`,
  );
}

/** The embeddings of one place of every sample: [N, units] of [N, embeddings, units]. */
export function embeddingAt(g: Emit, grouped: Typed, place: number): Typed {
  const [samples, , units] = grouped.shape as [number, number, number];
  return g.reshape(g.slice(grouped, [{ axis: 1, start: place, length: 1 }]), [samples, units]);
}

/** Vectors of length 1, along the last axis; as torch's `normalize`, with a floor for the norm. */
export function normalized(g: Emit, x: Typed, leastNorm: number): Typed {
  const squares = g.reduceSum(g.square(x), [x.shape.length - 1], true);
  return g.mul(x, g.reciprocal(g.sqrt(g.max(squares, leastNorm ** 2))));
}

/** The gradient of a loss whose operators the rules differentiate. */
export const throughRules = (g: Emit, value: Typed) => ({
  value,
  at: value,
  gradient: () => g.filled(1, [], value.type),
});

/** The first `rows` embeddings of an array, each as a list of numbers. */
export function vectorsOf(predictions: ArrayLike<number>, rows: number, shape: Shape): number[][][] {
  const units = shape.at(-1) ?? 0;
  const places = elementCount(shape.slice(1)) / Math.max(units, 1);
  return Array.from({ length: rows }, (_, row) =>
    Array.from({ length: places }, (_, place) =>
      Array.from(
        { length: units },
        (_, unit) => predictions[(row * places + place) * units + unit] ?? Number.NaN,
      ),
    ),
  );
}

export const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, unit) => sum + value * (b[unit] ?? Number.NaN), 0);

/** A vector of length 1. */
export function unit(vector: readonly number[], leastNorm: number): number[] {
  const norm = Math.max(Math.hypot(...vector), leastNorm);
  return vector.map((value) => value / norm);
}

/**
 * How many samples have a nearest other sample of their own class, among those whose class occurs twice.
 * @param near - greater for samples that are nearer
 */
export function nearestOfClass(
  labels: ArrayLike<number>,
  rows: number,
  near: (a: number, b: number) => number,
): { readonly counted: number; readonly correct: number } {
  let [counted, correct] = [0, 0];
  for (let i = 0; i < rows; i++) {
    const others = Array.from({ length: rows }, (_, j) => j).filter((j) => j !== i);
    if (!others.some((j) => labels[j] === labels[i])) continue;
    counted += 1;
    const nearest = others.reduce((best, j) => (near(i, j) > near(i, best) ? j : best));
    if (labels[nearest] === labels[i]) correct += 1;
  }
  return { counted, correct };
}
