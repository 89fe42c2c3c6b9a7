import type { Matrix } from "../penalties/plain-layer.ts";
import { Random } from "../random.ts";
import { reference } from "./reference.ts";
import { type InjectedSite, type LayerNumbers, type LayerTensors, plainLayer } from "./sites.ts";

/** Unit roundoff of float32. */
const roundoff = 2 ** -24;

/** Relative error allowed for a float32 scalar, however few terms it has. */
const base = 1e-5;

/**
 * The same for half-float models: ONNX Runtime's CPU computes them in float32 and gives the block the unrounded number, while
 * the reference sees only the rounded one.
 */
const halfBase = 1e-3;

/** How many times the measured effect of rounding the inputs is allowed. */
const roundings = 8;

/** How far a float32 scalar may lie from the float64 reference. */
interface Tolerance {
  /** Share of the reference's value; grows with the square root of the number of terms that are added in sequence. */
  readonly relative: number;
  /** Change of the value when the inputs are rounded to float32, and what rounds inside; large if terms cancel. Computed when called. */
  readonly rounding: () => number;
}

/** How far a scalar may lie from the reference's value. */
export const allowed = (value: number, { relative, rounding }: Tolerance): number =>
  withoutRounding(value, relative) + rounding();

/** Like {@link allowed}, but computes the effect of rounding only if the scalar is too far off without it. */
export function allowedFor(actual: number, value: number, tolerance: Tolerance): number {
  const least = withoutRounding(value, tolerance.relative);
  return Math.abs(actual - value) <= least ? least : allowed(value, tolerance);
}

const withoutRounding = (value: number, relative: number): number => Math.abs(value) * relative + 1e-30;

/**
 * Rounding errors that a correct float32 graph may show: 10⁻⁵ + 4·2⁻²⁴·√n of the value for sums of n terms (errors of single
 * additions are independent), plus eight times the change that rounding the input causes, plus the penalty's own resolution.
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
    if (typeof other === "string") return 0;
    return roundings * Math.abs(other.value - value) + (other.resolution ?? 0);
  };
  return {
    relative: (injected.site.response.type === "float16" ? halfBase : base) + 4 * roundoff * Math.sqrt(terms),
    rounding: () => {
      known ??= rounding();
      return known;
    },
  };
}
