import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { scaled, scaledBy } from "./scaled.ts";
import { epsilon, type SomOptions } from "./som-options.ts";

/** λ1 and λ2, divided by the number of groups and, for the reduction "mean", by the number of pairs. */
export interface Coefficients {
  /** Factor of s², the squared sum of the cosines. */
  readonly mean: number;
  /** Factor of ΣO², the sum of the squared cosines. */
  readonly square: number;
}

/** The value of SOM, and its gradient times `factor` and the scalar `weight`, built when called. */
interface GramGraph {
  /** A scalar. */
  readonly value: Typed;
  readonly gradient: (factor: number, weight?: Typed) => Typed;
}

/** One of the two sums of SOM. Only those whose coefficient is above 0 are written. */
interface Term<Gradient> {
  /** A scalar. */
  readonly value: Typed;
  /** @param times - factor · weight · coefficient, times a number */
  readonly gradient: (times: (by: number) => Typed | number) => Gradient;
  readonly coefficient: number;
}

/** Factors of s² and ΣO² for `units` units in each of `groups` groups. */
export function coefficients(options: SomOptions, units: number, groups: number): Coefficients {
  const pairs = options.reduction === "mean" ? units * (units - 1) : 1;
  return { mean: options.lambda1 / pairs ** 2 / groups, square: options.lambda2 / pairs / groups };
}

/**
 * SOM from the Gram matrix of the units. With A = 1/n² and K° = K off the diagonal, O²ᵢⱼ = K°ᵢⱼ·Aᵢ·K°ᵢⱼ·Aⱼ needs no root,
 * and K°ᵢⱼ·Aⱼ serves value and gradient.
 *
 * @param gram - K = Σ TTᵀ over rows: [units, units], or [groups, units, units]
 * @returns the value, and D = factor · weight · ∂value/∂K, symmetric, so that ∂value/∂T = 2·D·T
 */
export function somOfUnits(g: Emit, gram: Typed, c: Coefficients): GramGraph {
  const units = gram.shape.at(-1) ?? 0;
  const row = [...gram.shape.slice(0, -2), 1, units];
  // Kᵢᵢ is read from K, because a second pass over T would cost more.
  const inverse = inverseSquare(g, g.diagonal(gram));
  const across = g.reshape(inverse, row);
  const mask = g.offDiagonal(units, gram.type);
  const apart = g.mul(gram, mask);

  /** ΣO² = Σᵢ rᵢ; ∂/∂K = 2·(K°ᵢⱼAᵢAⱼ − diag(rᵢAᵢ)) */
  const squares = (): Term<Slopes> => {
    const scaledColumns = g.mul(apart, across);
    // Units by units: no length of the data is in these sums.
    const rows = g.mul(g.reduceSum(g.mul(apart, scaledColumns), [-1], true, true), inverse);
    return {
      value: g.reduceSum(rows, undefined, false, true),
      coefficient: c.square,
      gradient: (times) => {
        const factors = g.mul(inverse, times(2));
        return { matrix: () => g.mul(scaledColumns, factors), own: g.mul(rows, factors) };
      },
    };
  };
  /** s = Σᵢ rᵢ, r = K°a∘a with a = √A; ∂s²/∂K = 2s·(aᵢaⱼ off the diagonal − diag(rᵢAᵢ)) */
  const mean = (): Term<Slopes> => {
    const roots = g.sqrt(inverse);
    const rows = g.mul(g.matMul(apart, roots), roots);
    const total = g.reduceSum(rows, [-2], true, true);
    return {
      value: sumOfSquares(g, total),
      coefficient: c.mean,
      gradient: (times) => {
        const factor = g.mul(total, times(2));
        return {
          matrix: (before) => plusOuter(g, before, g.mul(roots, factor), g.reshape(roots, row)),
          own: g.mul(g.mul(rows, inverse), factor),
        };
      },
    };
  };

  return gramGraph(g, termsOf(c, squares, mean), (parts) => {
    const own = parts.map((part) => part.own).reduce(g.add);
    return g.withDiagonal(chained(parts), g.neg(own));
  });
}

/** D = ∂/∂K: the matrix off the diagonal, −own on it. */
interface Slopes {
  readonly matrix: Adding;
  /** [units, 1], or [groups, units, 1]. */
  readonly own: Typed;
}

/** Emits a matrix plus that of the terms before; ΣO² is the first of two terms, so it has none before it. */
type Adding = (before?: Typed) => Typed;

const chained = (terms: readonly { readonly matrix: Adding }[]): Typed =>
  terms.reduce<Typed | undefined>((sum, { matrix }) => matrix(sum), undefined) as Typed;

/** column·row, added to a matrix in the same node where there are no groups. */
function plusOuter(g: Emit, matrix: Typed | undefined, column: Typed, row: Typed): Typed {
  if (matrix?.shape.length === 2) return g.gemm(column, row, { added: matrix });
  const product = g.mul(column, row);
  return matrix ? g.add(matrix, product) : product;
}

/**
 * SOM from the Gram matrix of the rows, which is smaller if there are few rows: with A = 1/n², P = T·diag(A)·Tᵀ is ZZᵀ of the
 * normalised Z = T/n; ΣG² = ‖P‖², and the sum of G is ‖Σᵢzᵢ‖².
 *
 * @param t - T as [rows, units], or [groups, rows, units]
 * @param square - T∘T
 * @param fixed - whether every run has as many rows; if not, T is not float64
 * @returns the value, and factor · weight · ∂value/∂T in T's shape
 */
export function somOfRows(g: Emit, t: Typed, square: Typed, c: Coefficients, fixed: boolean): GramGraph {
  const energy = g.reduceSum(square, [-2], true);
  const inverse = inverseSquare(g, energy);
  const scaledT = g.mul(t, inverse);
  // Gᵢᵢ = |zᵢ|²: 1 − ε/n² for a living unit, 0 for a dead one.
  const own = g.mul(energy, inverse);

  /** With W = 4·P·(A∘T): ∂ΣO²/∂T = W − A∘T∘(colsum(T∘W) + 4ε·A∘own) */
  const squares = (): Term<Direction> => {
    const gram =
      t.shape.length === 2 ? g.gemm(scaledT, t, { transB: true }) : g.matMul(scaledT, g.transposeLast(t));
    return {
      // Of an open number of rows, one sum along each axis: where axes are joined depends on their lengths.
      value: g.sub(
        fixed ? sumOfSquares(g, gram) : g.reduceSum(g.reduceSum(g.square(gram), [1]), [0]),
        sumOfSquares(g, own),
      ),
      coefficient: c.square,
      gradient: (times) => {
        const four = times(4);
        // ONNX Runtime would fuse a scalar factor next to a MatMul into it as a float32 attribute, which is wrong for float64.
        const weighted = typeof four === "number" ? scaled(g, gram, four) : scaledBy(g, gram, four);
        return { matrix: () => g.matMul(weighted, scaledT), rest: g.mul(own, times(4 * epsilon)) };
      },
    };
  };
  /** With r = Σᵢzᵢ, a = √A, s = |r|² − Σ own, W = 4s·r·a: ∂s²/∂T = W − A∘T∘(colsum(T∘W) + 4s·ε·A) */
  const mean = (): Term<Direction> => {
    const roots = g.sqrt(inverse);
    const resultant = g.matMul(t, g.transposeLast(roots));
    const total = g.sub(
      g.reduceSum(g.square(resultant), fixed ? [-2, -1] : [-2], true),
      g.reduceSum(own, [-2, -1], true),
    );
    return {
      value: sumOfSquares(g, total),
      coefficient: c.mean,
      gradient: (times) => {
        const factor = g.mul(total, times(4));
        return {
          matrix: (before) => plusOuter(g, before, resultant, g.mul(roots, factor)),
          rest: g.mul(factor, epsilon),
        };
      },
    };
  };

  return gramGraph(g, termsOf(c, squares, mean), (parts) => {
    const whole = chained(parts);
    const rest = parts.map((part) => part.rest).reduce(g.add);
    const along = g.add(g.reduceSum(g.mul(t, whole), [-2], true), g.mul(inverse, rest));
    return g.sub(whole, g.mul(scaledT, along));
  });
}

/** ∂/∂T = W − A∘T∘(colsum(T∘W) + A∘rest), where the terms' matrices add up to W. */
interface Direction {
  readonly matrix: Adding;
  /** [1, units] or [1, 1]; with groups in front if there are any. */
  readonly rest: Typed;
}

/** The terms with a coefficient above 0; ΣO² if there are none. */
function termsOf<Gradient>(
  c: Coefficients,
  squares: () => Term<Gradient>,
  mean: () => Term<Gradient>,
): Term<Gradient>[] {
  if (c.mean === 0) return [squares()];
  return c.square === 0 ? [mean()] : [squares(), mean()];
}

function gramGraph<Gradient>(
  g: Emit,
  terms: readonly Term<Gradient>[],
  combine: (parts: readonly Gradient[]) => Typed,
): GramGraph {
  return {
    value: terms.map(({ value, coefficient }) => g.mul(value, coefficient)).reduce(g.add),
    gradient: (factor, weight) =>
      combine(
        terms.map(({ gradient, coefficient }) =>
          gradient((by) => multiplied(g, weight, coefficient * factor * by)),
        ),
      ),
  };
}

/** 1/n² = 1/(Kᵢᵢ + ε) for living units, 0 for dead ones. */
function inverseSquare(g: Emit, energy: Typed): Typed {
  const alive = g.indicator(g.greater(energy, epsilon), energy.type);
  return g.div(alive, g.add(energy, epsilon));
}

const sumOfSquares = (g: Emit, x: Typed): Typed => g.reduceSum(g.square(x), undefined, false, true);

/** The weight, by default 1, times a number; layers with the same numbers share the product. */
function multiplied(g: Emit, weight: Typed | undefined, by: number): Typed | number {
  return weight ? g.once(`${weight.name} times ${by}`, () => g.mul(weight, by)) : by;
}
