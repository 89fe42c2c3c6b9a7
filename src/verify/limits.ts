import { Random } from "../onnx/random-tensors.ts";
import type { Matrix } from "../penalties/plain-layer.ts";
import { reference } from "./reference.ts";
import { type InjectedSite, type LayerNumbers, type LayerTensors, plainLayer } from "./sites.ts";

/** Unit roundoff of float32. */
const roundoff = 2 ** -24;

/** What a float32 scalar may be off by however few terms it has. */
const base = 1e-5;

/**
 * The same where a model of half floats runs: ONNX Runtime's CPU computes them in float32 and hands the block the number
 * before it is rounded, while the reference can only see the rounded one.
 */
const halfBase = 1e-3;

/** How often the rounding of the numbers that go in, measured once, may occur on the way. */
const roundings = 8;

/** How far a float32 scalar may lie from the float64 reference. */
export interface Tolerance {
  /** Of the reference's value: grows with the root of the number of terms that are added one after the other. */
  readonly relative: number;
  /** By how much the value moves when the numbers that go in are rounded to float32: much, where terms cancel. Computed when asked. */
  readonly rounding: () => number;
}

/** How far a scalar may lie from the reference's value. */
export const allowed = (value: number, { relative, rounding }: Tolerance): number =>
  withoutRounding(value, relative) + rounding();

/** The same, but what rounding changes is asked for only where the scalar lies further off than without it. */
export function allowedFor(actual: number, value: number, tolerance: Tolerance): number {
  const least = withoutRounding(value, tolerance.relative);
  return Math.abs(actual - value) <= least ? least : allowed(value, tolerance);
}

const withoutRounding = (value: number, relative: number): number => Math.abs(value) * relative + 1e-30;

/**
 * Rounding errors that a right float32 graph may show: 10⁻⁵ + 4·2⁻²⁴·√n of the value for sums of n terms (errors of single
 * additions are independent), and eight times what rounding of the input changes.
 */
export function toleranceOf(
  injected: InjectedSite,
  {
    tensors,
    numbers,
    value,
    seed,
  }: { tensors: LayerTensors; numbers: LayerNumbers; value: number; seed: number },
): Tolerance {
  const { units, groups } = injected.site;
  const length = Math.max(numbers.responses[0]?.length ?? 0, numbers.weights[0]?.length ?? 0);
  const terms = length + (2 * units) / groups;
  let known: number | undefined;
  const rounding = (): number => {
    const random = new Random("rounding of verify", seed);
    const rounded = (matrix: Matrix): Matrix =>
      matrix.map((row) => row.map((x) => x * (1 + 2 * roundoff * (2 * random.uniform() - 1))));
    const other = reference(
      injected,
      plainLayer(injected, tensors, {
        responses: rounded(numbers.responses),
        weights: rounded(numbers.weights),
        bias: numbers.bias,
      }),
    );
    return typeof other === "string" ? 0 : roundings * Math.abs(other.value - value);
  };
  return {
    relative: (injected.site.response.type === "float16" ? halfBase : base) + 4 * roundoff * Math.sqrt(terms),
    rounding: () => {
      known ??= rounding();
      return known;
    },
  };
}
