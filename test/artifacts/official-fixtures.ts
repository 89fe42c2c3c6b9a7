import { readFileSync } from "node:fs";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { labels, uniform } from "../helpers/lcg.ts";

const folder = new URL("../fixtures/official/", import.meta.url);

/** A file of test/fixtures/official. */
export const officialFile = (path: string): Uint8Array => readFileSync(new URL(path, folder));

/** Its path. */
export const officialPath = (path: string): string => new URL(path, folder).pathname;

type Losses = Readonly<Record<"sgd" | "adamw", readonly number[]>>;
interface Gradients {
  readonly loss: number;
  readonly penalty: number;
  readonly gradients: Readonly<Record<string, readonly number[]>>;
}

/** Figures of PyTorch in float64. */
export const pytorch = JSON.parse(Buffer.from(officialFile("pytorch.json")).toString()) as {
  readonly weight: number;
  readonly networks: Readonly<
    Record<string, { readonly shape: readonly number[]; readonly plain: Losses; readonly som: Losses }>
  >;
  readonly cases: Readonly<
    Record<string, { readonly shape: readonly number[]; readonly plain: Gradients; readonly som: Gradients }>
  >;
};

/** Losses of ONNX Runtime's own Python package. */
export const officialLosses = JSON.parse(Buffer.from(officialFile("official.json")).toString()) as Readonly<
  Record<string, Losses>
>;

/** Batch number `index` of a network or case. */
export function officialBatch(name: string, index: number): { x: Tensor; labels: Tensor } {
  const shape = (pytorch.networks[name] ?? pytorch.cases[name])?.shape ?? [];
  const count = shape[0] ?? 0;
  return {
    x: Tensor.float("x", shape, uniform(`${name}/x/${index}`, elementCount(shape), 1.7)),
    labels: Tensor.int64("labels", [count], labels(`${name}/y/${index}`, count, 5)),
  };
}

/** The largest difference of two lists. */
export const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  return Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? Number.NaN))), 0);
};
