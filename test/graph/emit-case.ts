import type { Emit } from "../../src/graph/emit.ts";
import type { Typed } from "../../src/graph/emit-base.ts";

/** One call of a method. */
export interface Case {
  /** Shapes of the inputs a, b, …: random numbers in [0.1, 1). */
  readonly inputs?: readonly (readonly number[])[];
  readonly emit: (g: Emit, ...inputs: Typed[]) => Typed;
  /** What comes out, in one flat list, from the inputs in flat lists; left out where ONNX Runtime alone judges. */
  readonly expected?: (...inputs: number[][]) => number[];
  /** First opset in which the operator exists. */
  readonly since?: number;
}

export const M = [2, 3];
export const map = (f: (x: number) => number) => (a: number[]) => a.map(f);
export const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
export const pick = (a: number[], at: readonly number[]) => at.map((i) => a[i] ?? Number.NaN);
export const rows = (values: number[], width: number) =>
  Array.from({ length: values.length / width }, (_, i) => values.slice(i * width, (i + 1) * width));
export const flag = (condition: boolean) => (condition ? 1 : 0);
type Unary = (g: Emit, a: Typed) => Typed;
type Two = (g: Emit, a: Typed, b: Typed) => Typed;
/** A case of one input, or of two. */
export const one = (
  shape: readonly number[],
  emit: Unary,
  expected?: (a: number[]) => number[],
  since = 1,
): Case => ({
  ...{ inputs: [shape], emit: (g, a) => emit(g, a as Typed), since },
  ...(expected ? { expected: (a) => expected(a as number[]) } : {}),
});
export const two = (
  shapes: readonly [readonly number[], readonly number[]],
  emit: Two,
  expected?: (a: number[], b: number[]) => number[],
  since = 1,
): Case => ({
  ...{ inputs: shapes, emit: (g, a, b) => emit(g, a as Typed, b as Typed), since },
  ...(expected ? { expected: (a, b) => expected(a as number[], b as number[]) } : {}),
});
export const same = (a: number[]) => a;
