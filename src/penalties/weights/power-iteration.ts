import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { type Draw, drawn } from "../draws.ts";
import type { PenaltyLayer } from "../layer.ts";
import type { Matrix, PenaltyReference, PlainLayer } from "../plain-layer.ts";
import { dot, gramOf, mapped, ofWeights, onSmallerSide, product, withGradient } from "../plain-math.ts";
import { WeightMatrix } from "../weight-matrix.ts";
import { meanOfGroupSums } from "../weight-penalty.ts";
import { smallerSide } from "./excess.ts";

/** Keeps the division finite if W is already orthogonal. */
const leastSquare = 1e-20;

/** The start of a power iteration, and its number of steps. */
export interface PowerIteration {
  readonly iterations: number;
  readonly start: Pick<Draw, "distribution" | "seed" | "anew">;
}

/**
 * ‖A·v‖² after a power iteration v ← A·v/‖A·v‖, which approaches the largest squared eigenvalue of A = WWᵀ − I, or WᵀW − I if
 * that is smaller (the eigenvalues other than −1 are the same). The mean over groups.
 */
export function powerIteration(
  { site, weight, g, draw }: PenaltyLayer,
  { iterations, start }: PowerIteration,
): Typed {
  const { units, fanIn, groups, side } = smallerSide(site);
  const size = Math.min(units, fanIn);
  const gram = new WeightMatrix(site, weight, g).gram(side);
  const excess = g.sub(gram, g.identityMatrix(size, gram.type));
  const first = draw({ ...start, shape: [1, size] });
  let v = g.reshape(g.cast(first, gram.type), [size, 1]);
  for (let i = 0; i < iterations; i++) v = ofLength1(g, g.matMul(excess, v));
  return meanOfGroupSums(g, g.square(g.matMul(excess, v)), groups);
}

function ofLength1(g: Emit, x: Typed): Typed {
  return g.div(x, g.sqrt(g.max(g.reduceSum(g.square(x), [-2], true), leastSquare)));
}

/** The same in float64, with its gradient through every step. */
export function plainPowerIteration(
  layer: PlainLayer,
  { iterations, start }: PowerIteration,
): PenaltyReference {
  const ofVectors = (vectors: Matrix) => {
    const excess = mapped(gramOf(vectors), (entry, i, j) => entry - (i === j ? 1 : 0));
    const times = (x: readonly number[]) => excess.map((row) => dot(row, x));
    // The vector before each step, and its length after it.
    const path: { readonly v: number[]; readonly length: number }[] = [];
    let v = Array.from(drawn({ ...start, shape: [1, vectors.length] }));
    for (let i = 0; i < iterations; i++) {
      const moved = times(v);
      const length = Math.sqrt(Math.max(dot(moved, moved), leastSquare));
      path.push({ v, length });
      v = moved.map((y) => y / length);
    }
    const result = times(v);
    return withGradient(dot(result, result), () =>
      backThroughSteps({ vectors, excess, path, last: v, result }),
    );
  };
  return ofWeights(layer, (rows) => onSmallerSide(rows, ofVectors));
}

/** R = rᵀr, r = A·v: dA = 2·r·vᵀ, dv = 2·A·r; v = m/|m|: dm = (dv − v(v·dv))/|m|; m = A·b: dA = dm·bᵀ, db = A·dm. */
function backThroughSteps(of: {
  readonly vectors: Matrix;
  readonly excess: Matrix;
  /** The vector before each step, and its length after it. */
  readonly path: readonly { readonly v: readonly number[]; readonly length: number }[];
  readonly last: readonly number[];
  readonly result: readonly number[];
}): number[][] {
  const times = (x: readonly number[]) => of.excess.map((row) => dot(row, x));
  let v = of.last;
  let toExcess = of.result.map((r) => v.map((x) => 2 * r * x));
  let toV = times(of.result).map((y) => 2 * y);
  for (const { v: before, length } of [...of.path].reverse()) {
    const along = dot(v, toV);
    const toMoved = toV.map((y, i) => (y - (v[i] ?? 0) * along) / length);
    toExcess = mapped(toExcess, (entry, i, j) => entry + (toMoved[i] ?? 0) * (before[j] ?? 0));
    toV = times(toMoved);
    v = before;
  }
  const pull = mapped(toExcess, (entry, i, j) => entry + (toExcess[j]?.[i] ?? 0));
  return product(pull, of.vectors);
}
