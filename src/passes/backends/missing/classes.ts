import type { Emit } from "../../../graph/emit.ts";
import type { Typed } from "../../../graph/emit-base.ts";
import type { Node } from "../../../graph/node.ts";
import { dimAt } from "../../../graph/shapes.ts";
import { isFloat } from "../../../onnx/data-types.ts";
import { axisOf, inputOf, optionalInput, outputShape, type WrittenOutTable } from "./written-out.ts";

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
  const { shape, type } = logarithms;
  const labels = g.cast(inputOf(node, 1), "int32");
  const hot = g.indicator(isAt(g, labels, 1, dimAt(shape, 1)), type);
  const ofClass = (values: Typed) => g.reduceSum(g.mul(hot, values), [1]);
  const weights = optionalInput(node, 2);
  const byClass =
    weights &&
    g.reshape(
      weights,
      shape.map((dim, axis) => (axis === 1 ? dim : 1)),
    );
  const ignored = node.attributes.get("ignore_index");
  const counts =
    ignored?.kind === "int" ? g.sub(1, g.indicator(g.equal(labels, ignored.value), type)) : undefined;
  const weight = byClass ? (counts ? g.mul(ofClass(byClass), counts) : ofClass(byClass)) : counts;
  const losses = g.neg(ofClass(logarithms));
  const weighted = weight ? g.mul(losses, weight) : losses;
  const reduction = node.string("reduction", "mean");
  if (reduction === "none") return weighted;
  if (reduction === "sum") return g.reduceSum(weighted);
  return weight ? g.div(g.reduceSum(weighted), g.reduceSum(weight)) : g.meanOfAll(weighted);
}

export const classes: WrittenOutTable = {
  LogSoftmax: (g, node) => {
    const x = inputOf(node, 0);
    return [logSoftmax(g, x, axisOf(node, x.shape.length, -1))];
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
    const axis = axisOf(node, shape.length, -1);
    const length = dimAt(shape, axis);
    const given = g.cast(inputOf(node, 0), "int32");
    const indices = g.where(g.less(given, 0), g.add(given, length), given);
    const value = (start: number) => g.slice(values, [{ axis: 0, start, length: 1 }]);
    return [g.where(isAt(g, indices, axis, length), value(1), value(0))];
  },
};
