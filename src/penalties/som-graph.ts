import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { epsilon, type SomOptions } from "./som-options.ts";

/** λ1 and λ2, divided by the number of groups and, for the reduction "mean", by the number of pairs. */
interface Coefficients {
  /** Factor of s², the squared sum of the cosines. */
  readonly mean: number;
  /** Factor of ΣO², the sum of the squared cosines. */
  readonly square: number;
}

/** The value of SOM, and its gradient times `factor` and the scalar `weight`, built when called. */
interface GramGraph {
  readonly value: Typed;
  readonly gradient: (factor: number, weight?: Typed) => Typed;
}

/** Factors of s² and ΣO² for `units` units in each of `groups` groups. */
export function coefficients(options: SomOptions, units: number, groups: number): Coefficients {
  const pairs = options.reduction === "mean" ? units * (units - 1) : 1;
  return { mean: options.lambda1 / pairs ** 2 / groups, square: options.lambda2 / pairs / groups };
}

/**
 * SOM from the Gram matrix of the units.
 *
 * @param gram - K = Σ TTᵀ over rows: [units, units], or [groups, units, units]
 * @returns the value, and D = factor · weight · ∂value/∂K, symmetric, so that ∂value/∂T = 2·D·T
 */
export function somOfUnits(g: Emit, gram: Typed, c: Coefficients): GramGraph {
  const type = gram.type;
  const units = gram.shape.at(-1) ?? 0;
  // Kᵢᵢ is read through a mask, because a second pass over T would cost more.
  const energy = g.reduceSum(g.mul(gram, g.identityMatrix(units, type)), [-1], true);
  const inverse = inverseNorm(g, energy);
  const inversePairs = g.mul(g.mul(inverse, g.transposeLast(inverse)), g.offDiagonal(units, type));
  const cosines = g.mul(gram, inversePairs);
  // The mask is units by units, so it contains no length of the data.
  const rowSums = g.reduceSum(cosines, [-1], true, true);
  const rowSquares = g.reduceSum(g.square(cosines), [-1], true, true);
  const total = g.reduceSum(rowSums, [-2], true, true);
  const value = combine(g, total, g.reduceSum(rowSquares, [-2], true, true), c);
  return {
    value,
    // dK = S/(nnᵀ) − diag(rowsum(S∘O)/Kᵢᵢ) with S = 2·c.mean·s + 2·c.square·O off the diagonal
    gradient: (factor, weight) => {
      const common = g.mul(total, 2 * c.mean * factor);
      const slopes = g.mul(g.add(g.mul(cosines, 2 * c.square * factor), common), inversePairs);
      const rows = g.add(g.mul(rowSums, common), g.mul(rowSquares, 2 * c.square * factor));
      const diagonal = g.mul(rows, g.square(inverse));
      const dK = g.sub(slopes, g.mul(g.identityMatrix(units, type), diagonal));
      return weight ? g.mul(dK, weight) : dK;
    },
  };
}

/**
 * SOM from the Gram matrix of the rows, which is smaller if there are few rows: with Z = T/n and P = ZZᵀ,
 * ΣG² = ‖P‖², and the sum of G is ‖Σᵢzᵢ‖². The number of rows must be known.
 *
 * @param t - T as [rows, units], or [groups, rows, units]
 * @returns the value, and factor · weight · ∂value/∂T in T's shape
 */
export function somOfRows(g: Emit, t: Typed, c: Coefficients): GramGraph {
  const energy = g.reduceSum(g.square(t), [-2], true);
  const inverse = inverseNorm(g, energy);
  const z = g.mul(t, inverse);
  // Gᵢᵢ = |zᵢ|²: 1 − ε/n² for a living unit, 0 for a dead one.
  const own = g.mul(energy, g.square(inverse));
  const gram = g.matMul(z, g.transposeLast(z));
  const resultant = g.reduceSum(z, [-1], true);
  const all = [-2, -1];
  const total = g.sub(g.reduceSum(g.square(resultant), all, true), g.reduceSum(own, all, true));
  const squares = g.sub(g.reduceSum(g.square(gram), all, true), g.reduceSum(g.square(own), all, true));
  return {
    value: combine(g, total, squares, c),
    // With a = ∂R/∂s, c = ∂R/∂ΣO²: dzᵢ = wᵢ − hᵢzᵢ, w = 2a·Σⱼzⱼ + 4c·Pz, h = 2a + 4c·Gᵢᵢ; dT = (dZ − Z∘colsum(Z∘dZ))/n.
    gradient: (factor, weight) => {
      const twoA = g.mul(total, 4 * c.mean * factor);
      // ONNX Runtime would fuse a scalar factor next to a MatMul into it as a float32 attribute, which is wrong for float64.
      const scaled = g.mul(t, g.mul(inverse, 4 * c.square * factor));
      const w = g.add(g.matMul(gram, scaled), g.mul(resultant, twoA));
      const h = g.add(g.mul(own, 4 * c.square * factor), twoA);
      const along = g.add(g.reduceSum(g.mul(z, w), [-2], true), g.mul(h, g.sub(1, own)));
      return g.mul(g.sub(w, g.mul(z, along)), weight ? g.mul(inverse, weight) : inverse);
    },
  };
}

/** 1/n = 1/√(Kᵢᵢ + ε) for living units, 0 for dead ones. */
function inverseNorm(g: Emit, energy: Typed): Typed {
  const alive = g.indicator(g.greater(energy, epsilon), energy.type);
  return g.mul(g.reciprocal(g.sqrt(g.add(energy, epsilon))), alive);
}

/** c.mean·s² + c.square·ΣO², summed over groups. */
function combine(g: Emit, total: Typed, squares: Typed, c: Coefficients): Typed {
  return g.reduceSum(g.add(g.mul(g.square(total), c.mean), g.mul(squares, c.square)));
}
