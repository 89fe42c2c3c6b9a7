import { oneHot, weightsOfRows } from "../../../autodiff/rules/losses.ts";
import type { Emit } from "../../../graph/emit.ts";
import { type Typed, typed } from "../../../graph/emit-base.ts";
import type { Node } from "../../../graph/node.ts";
import { dimAt } from "../../../graph/shapes.ts";
import { isFloat } from "../../../onnx/data-types.ts";
import { axisOf, inputOf, outputShape, type WrittenOutTable } from "./written-out.ts";

/** x − max − log Σ e^(x − max) along an axis. */
function logSoftmax(g: Emit, x: Typed, axis: number): Typed {
  const shifted = g.sub(x, g.reduceMax(x, [axis], true));
  return g.sub(shifted, g.log(g.reduceSum(g.exp(shifted), [axis], true)));
}

/** Whether each index is that of its place along a new axis: indices […] → [… n …] */
function isAt(g: Emit, indices: Typed, axis: number, length: number): Typed {
  const rank = indices.shape.length + 1;
  const places = Array.from({ length: rank }, (_, at) => (at === axis ? length : 1));
  return g.equal(g.unsqueeze(indices, [axis]), g.reshape(g.iota(length), places));
}

/** −w_c·log p_c of each row with its reduction, where `logarithms` are log p: [N, C, …]. */
function negativeLogLikelihood(g: Emit, node: Node, logarithms: Typed): Typed {
  const hot = oneHot(g, inputOf(node, 1), logarithms);
  const weights = weightsOfRows({ node, inputs: node.inputs.map((input) => input && typed(input)) }, g, hot);
  const losses = g.neg(g.mul(g.reduceSum(g.mul(hot, logarithms), [1], true), weights));
  const reduction = node.string("reduction", "mean");
  if (reduction === "none") return g.reshape(losses, inputOf(node, 1).shape);
  const total = g.reduceSum(losses);
  return reduction === "sum" ? total : g.div(total, g.reduceSum(weights));
}

export const classes: WrittenOutTable = {
  LogSoftmax: (g, node) => {
    const x = inputOf(node, 0);
    return [logSoftmax(g, x, axisOf(node, x.shape.length))];
  },
  SoftmaxCrossEntropyLoss: (g, node) => {
    const logarithms = logSoftmax(g, inputOf(node, 0), 1);
    return [negativeLogLikelihood(g, node, logarithms), logarithms];
  },
  NegativeLogLikelihoodLoss: (g, node) => [negativeLogLikelihood(g, node, inputOf(node, 0))],
  OneHot: (g, node) => {
    const values = inputOf(node, 2);
    if (!isFloat(values.type)) return undefined;
    const shape = outputShape(node);
    const axis = axisOf(node, shape.length);
    const length = dimAt(shape, axis);
    const given = g.cast(inputOf(node, 0), "int32");
    const indices = g.where(g.less(given, 0), g.add(given, length), given);
    const value = (start: number) => g.slice(values, [{ axis: 0, start, length: 1 }]);
    return [g.where(isAt(g, indices, axis, length), value(1), value(0))];
  },
};
