import type { Copy } from "../analysis/copies.ts";
import type { RecoveredLayer } from "../batch-norm/mark.ts";
import { elementCount } from "../onnx/tensor.ts";
import { type WeightGraph, WeightGraphBuilder, type WeightSources } from "./weight-graph.ts";

/** A copy of a trained parameter in another layout (`copied`). */
export function copiedWeight({ name, of, dims, rows }: Copy, sources: WeightSources): WeightGraph {
  const b = new WeightGraphBuilder(sources, name);
  const { g } = b;
  const parameter = b.operand("weight", of);
  const size = elementCount(dims);
  if (rows > 0) return b.done(g.transpose(g.reshape(parameter, [rows, size / rows]), [1, 0]), dims);
  return b.done(elementCount(parameter.shape) === size ? parameter : g.expand(parameter, dims), dims);
}

/** The weight and the bias of a layer with its BatchNormalization in them (`foldBatchNorm`). */
export function foldedWeights(
  layer: RecoveredLayer,
  epsilon: number,
  sources: WeightSources,
): ReadonlyMap<string, WeightGraph> {
  const { weight, axis, groups, biasOfLayer, beta } = layer;
  const begun = (base: string) => {
    const b = new WeightGraphBuilder(sources, base);
    const { g } = b;
    const variance = b.operand("variance", layer.variance);
    const factor = g.div(b.operand("scale", layer.scale), g.sqrt(g.add(variance, b.number(epsilon))));
    return { b, g, factor };
  };
  const ofWeight = begun(weight);
  const stored = ofWeight.b.operand("weight", weight);
  const length = stored.shape[axis] ?? 1;
  const inner = elementCount(stored.shape.slice(axis + 1));
  const outer = elementCount(stored.shape) / (groups * length * inner);
  const scaled = ofWeight.g.mul(
    ofWeight.g.reshape(stored, [groups, outer, length, inner]),
    ofWeight.g.reshape(ofWeight.factor, [groups, 1, length, 1]),
  );
  const ofBias = begun(biasOfLayer.name);
  const { b, g, factor } = ofBias;
  const shifted = g.sub(b.operand("bias", layer.bias), g.mul(factor, b.operand("mean", layer.mean)));
  return new Map([
    [weight, ofWeight.b.done(scaled, stored.shape)],
    [biasOfLayer.name, b.done(g.div(shifted, b.number(beta)), biasOfLayer.dims)],
  ]);
}
