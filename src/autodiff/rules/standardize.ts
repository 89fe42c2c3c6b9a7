import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import type { Node, Value } from "../../graph/node.ts";
import { dimAt, reducedShape } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";

/** A tensor to normalize, the axes to normalize over, ε, and whether to subtract the mean. */
export interface Normalized {
  readonly x: Typed;
  readonly axes: readonly number[];
  readonly epsilon: number;
  /** Whether to subtract the mean (default); false for RMS normalization. */
  readonly centred?: boolean;
  /** Statistics computed by the forward node, with the reduced axes kept as 1; they are used instead of new ones. */
  readonly mean?: Value | undefined;
  readonly reciprocal?: Value | undefined;
}

/** A normalized tensor x̂ = (x − mean)·r, or x·r, and r = 1/√(mean square + ε). */
interface Standardized {
  readonly unit: Typed;
  readonly r: Typed;
}

/** Emits the normalized tensor, once for each input. */
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

/** Gradient of x, given the gradient d of x̂: r·(d − mean d − x̂·mean(d·x̂)), without `mean d` if not centred. */
export function standardizedGradient(g: Emit, d: Typed, normalized: Normalized): Typed {
  const { axes, centred = true } = normalized;
  const { unit, r } = standardize(g, normalized);
  const along = g.mul(unit, g.reduceMean(g.mul(d, unit), axes, true));
  const across = centred ? g.sub(d, g.reduceMean(d, axes, true)) : d;
  return g.mul(g.sub(across, along), r);
}

/** Gradient of x through a mean that the node outputs: each element gets an equal share. */
export function meanGradient(g: Emit, dMean: Typed, { x, axes }: Normalized): Typed {
  return g.expand(g.mul(g.cast(dMean, x.type), 1 / count(x, axes)), x.shape);
}

/** Gradient of x through an r that the node outputs: dr/dx = −r²·x̂/M. */
export function reciprocalGradient(g: Emit, dR: Typed, normalized: Normalized): Typed {
  const { x, axes } = normalized;
  const { unit, r } = standardize(g, normalized);
  return g.mul(unit, g.mul(g.mul(g.cast(dR, x.type), g.square(r)), -1 / count(x, axes)));
}

const count = (x: Typed, axes: readonly number[]) => elementCount(axes.map((axis) => dimAt(x.shape, axis)));

/**
 * A statistic that the forward node itself can output (Mean, InvStdDev); adds the output if the node lacks it. Undefined
 * for double, because ONNX Runtime rounds those statistics to float.
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
