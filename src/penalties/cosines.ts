import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";

/** How vectors are normalised. */
interface Normalization {
  /** Added to every squared norm; 0 if `least` alone guards the division. */
  readonly added: number;
  /** A vector whose squared norm is not above this has the cosine 0 with all others, and no gradient. */
  readonly least: number;
}

/** Cosines of vectors, and how a slope goes from them back to the vectors. */
interface Cosines {
  /** [n, n] or [groups, n, n]; on the diagonal Kᵢᵢ/(Kᵢᵢ + ε). */
  readonly value: Typed;
  /** From ∂R/∂C + (∂R/∂C)ᵀ: P with ∂R/∂V = P·V, where each row of V is a vector. */
  readonly pull: (slopes: Typed) => Typed;
}

/** C = K/(nnᵀ) with n = √(diag K + ε); K holds the vectors' products, [n, n] or [groups, n, n]. */
export function cosinesOf(g: Emit, gram: Typed, { added, least }: Normalization): Cosines {
  const { type, shape } = gram;
  const identity = g.identityMatrix(shape.at(-1) ?? 0, type);
  const energy = g.diagonal(gram);
  const guarded = added > 0 ? g.add(energy, added) : g.max(energy, least);
  const alive = g.indicator(g.greater(energy, least), type);
  const inverse = g.mul(g.reciprocal(g.sqrt(guarded)), alive);
  const pairs = g.mul(inverse, g.transposeLast(inverse));
  const value = g.mul(gram, pairs);
  return {
    value,
    // With S = ∂R/∂C + (∂R/∂C)ᵀ: P = S/(nnᵀ) − diag(rowsum(S∘C)/n²)
    pull: (slopes) => {
      const rows = g.reduceSum(g.mul(slopes, value), [-1], true);
      return g.sub(g.mul(slopes, pairs), g.mul(identity, g.mul(rows, g.square(inverse))));
    },
  };
}
