import { windowSlices } from "../../../autodiff/rules/convolution-gradients.ts";
import { windowGeometry } from "../../../autodiff/rules/window-geometry.ts";
import type { Emit } from "../../../graph/emit.ts";
import type { Typed } from "../../../graph/emit-base.ts";
import type { Node } from "../../../graph/node.ts";
import { allAxes } from "../../../graph/shapes.ts";
import { elementCount } from "../../../onnx/tensor.ts";
import { inputOf, outputShape, type WrittenOutTable } from "./written-out.ts";

/** Windows of more elements would become too many nodes. */
const largestWindow = 64;

/** (Σ |x|^p)^(1/p), where `sum` adds up what belongs together. */
function norm(g: Emit, node: Node, sum: (powers: Typed) => Typed): Typed {
  const x = inputOf(node, 0);
  const p = node.int("p", 2);
  if (p === 1) return sum(g.abs(x));
  if (p === 2) return g.sqrt(sum(g.square(x)));
  return g.pow(sum(g.pow(g.abs(x), p)), 1 / p);
}

export const pools: WrittenOutTable = {
  GlobalLpPool: (g, node) => {
    const spatial = allAxes(inputOf(node, 0).shape.length).slice(2);
    return [norm(g, node, (powers) => g.reduceSum(powers, spatial, true))];
  },
  LpPool: (g, node) => {
    const kernel = node.ints("kernel_shape") ?? [];
    if (elementCount(kernel) > largestWindow) return undefined;
    const spatial = inputOf(node, 0).shape.slice(2);
    const geometry = windowGeometry(node, kernel, spatial, outputShape(node).slice(2));
    return [norm(g, node, (powers) => windowSlices(g, powers, geometry).reduce((a, b) => g.add(a, b)))];
  },
};
