import { channelSums } from "../../../autodiff/rules/normalization.ts";
import { float, int } from "../../../graph/attribute.ts";
import type { Emit } from "../../../graph/emit.ts";
import type { Typed } from "../../../graph/emit-base.ts";
import { allAxes, dimAt, sameShape } from "../../../graph/shapes.ts";
import { elementCount } from "../../../onnx/tensor.ts";
import { axisOf, inputOf, unary, type WrittenOutTable } from "./written-out.ts";

/** x less its mean, and the mean of the squares of that, over some axes. */
function centred(g: Emit, x: Typed, axes: readonly number[]) {
  const deviations = g.sub(x, g.reduceMean(x, axes, true));
  return { deviations, variance: g.reduceMean(g.square(deviations), axes, true) };
}

export const normalizations: WrittenOutTable = {
  GroupNormalization: (g, node) => {
    const [x, scale, shift] = [inputOf(node, 0), inputOf(node, 1), inputOf(node, 2)];
    const [samples, channels] = [dimAt(x.shape, 0), dimAt(x.shape, 1)];
    const groups = node.int("num_groups", 1);
    const grouped = g.reshape(x, [samples, groups, elementCount(x.shape.slice(1)) / groups]);
    const { deviations, variance } = centred(g, grouped, [2]);
    const normalized = g.div(deviations, g.sqrt(g.add(variance, node.float("epsilon", 1e-5))));
    // Before opset 21, scale and shift belong to groups.
    const owners = dimAt(scale.shape, 0);
    const byOwner = g.reshape(normalized, [samples, owners, elementCount(x.shape.slice(1)) / owners]);
    const column = (values: Typed) => g.reshape(values, [1, owners, 1]);
    if (owners !== groups && owners !== channels) return undefined;
    return [g.reshape(g.add(g.mul(byOwner, column(scale)), column(shift)), x.shape)];
  },
  MeanVarianceNormalization: unary((g, x, node) => {
    const { deviations, variance } = centred(g, x, node.ints("axes") ?? [0, 2, 3]);
    return g.div(deviations, g.add(g.sqrt(variance), 1e-9));
  }),
  LpNormalization: unary((g, x, node) => {
    const axes = [axisOf(node, x.shape.length)];
    const norm =
      node.int("p", 2) === 1
        ? g.reduceSum(g.abs(x), axes, true)
        : g.sqrt(g.reduceSum(g.square(x), axes, true));
    // A row of zeros stays one.
    return g.div(x, g.where(g.greater(norm, 0), norm, 1));
  }),
  LRN: unary((g, x, node) => {
    const { s, beta } = channelSums(g, node, x);
    return g.div(x, g.pow(s, beta));
  }),
  RMSNormalization: unary((g, x, node) => {
    const scale = inputOf(node, 1);
    const axis = axisOf(node, x.shape.length);
    const epsilon = node.float("epsilon", 1e-5);
    if (axis === x.shape.length - 1 && sameShape(scale.shape, x.shape.slice(axis))) {
      const attributes = { axis: int(-1), epsilon: float(epsilon) };
      return g.op("SimplifiedLayerNormalization", [x, scale], x.shape, { attributes });
    }
    const axes = allAxes(x.shape.length).slice(axis);
    const root = g.sqrt(g.add(g.reduceMean(g.square(x), axes, true), epsilon));
    return g.mul(g.div(x, root), scale);
  }),
};
