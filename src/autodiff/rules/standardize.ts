import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import type { Node, Value } from "../../graph/node.ts";
import { dimAt, reducedShape } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";

/** What is normalized: over which axes, what is added to the mean square, and whether the mean goes first. */
export interface Normalized {
  readonly x: Typed;
  readonly axes: readonly number[];
  readonly epsilon: number;
  /** False for RMS normalization, which leaves the mean in. */
  readonly centred?: boolean;
  /** Statistics that the forward node computed, with the axes kept; used instead of computing them again. */
  readonly mean?: Value | undefined;
  readonly reciprocal?: Value | undefined;
}

/** A normalized tensor x̂ = (x − mean)·r, or x·r, and r = 1/√(mean square + ε). */
export interface Standardized {
  readonly unit: Typed;
  readonly r: Typed;
}

/** The normalized tensor, written out again; emitted once for the same input. */
export function standardize(g: Emit, normalized: Normalized): Standardized {
  const { x, axes, epsilon, centred = true, mean, reciprocal } = normalized;
  const key = `${x.name} over ${axes} ${epsilon} ${centred} ${mean?.name} ${reciprocal?.name}`;
  const kept = () =>
    centred
      ? g.once(`centred ${key}`, () => g.sub(x, mean ? g.cast(mean, x.type) : g.reduceMean(x, axes, true)))
      : x;
  const r = g.once(`1/deviation ${key}`, () =>
    reciprocal
      ? g.cast(reciprocal, x.type)
      : g.reciprocal(g.sqrt(g.add(g.reduceMean(g.square(kept()), axes, true), epsilon))),
  );
  return { r, unit: g.once(`unit ${key}`, () => g.mul(kept(), r)) };
}

/** Gradient to x, given d, that of x̂: r·(d − mean d − x̂·mean(d·x̂)); without `mean d` where the mean stays in. */
export function standardizedGradient(g: Emit, d: Typed, normalized: Normalized): Typed {
  const { axes, centred = true } = normalized;
  const { unit, r } = standardize(g, normalized);
  const along = g.mul(unit, g.reduceMean(g.mul(d, unit), axes, true));
  const across = centred ? g.sub(d, g.reduceMean(d, axes, true)) : d;
  return g.mul(g.sub(across, along), r);
}

/** Gradient to x through the mean that a node puts out: each element has its share. */
export function meanGradient(g: Emit, dMean: Typed, { x, axes }: Normalized): Typed {
  return g.expand(g.mul(g.cast(dMean, x.type), 1 / count(x, axes)), x.shape);
}

/** Gradient to x through the r that a node puts out: dr/dx = −r²·x̂/M. */
export function reciprocalGradient(g: Emit, dR: Typed, normalized: Normalized): Typed {
  const { x, axes } = normalized;
  const { unit, r } = standardize(g, normalized);
  return g.mul(unit, g.mul(g.mul(g.cast(dR, x.type), g.square(r)), -1 / count(x, axes)));
}

const count = (x: Typed, axes: readonly number[]) => elementCount(axes.map((axis) => dimAt(x.shape, axis)));

/**
 * A statistic that the forward node itself can put out (Mean, InvStdDev): declared if it is not yet. Undefined for
 * double, for which ONNX Runtime rounds statistics to float.
 */
export function savedStatistic(
  g: Emit,
  node: Node,
  index: number,
  { x, axes }: Normalized,
): Value | undefined {
  if (x.type === "double") return undefined;
  const declared = node.outputs[index];
  if (declared) return declared;
  const saved = g.graph.addNodeOutput(node, index, `${node.outputs[0]?.name}.statistic${index}`);
  saved.type = "float";
  saved.shape = reducedShape(x.shape, axes, true);
  return saved;
}
