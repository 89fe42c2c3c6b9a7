import type { Node, Value } from "../../graph/node.ts";
import { dimAt, type Shape } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import type { RowForm } from "./row-operators.ts";
import { positionsOf } from "./rows.ts";

/** What work costs in both layouts, in microseconds of one thread. */
export interface LayoutCosts {
  readonly convolution: (shape: ConvolutionShape) => CostPair;
  /** Of a node that reads numbers for each channel beside its image. */
  readonly perChannel: (elements: number, positions: number) => CostPair;
  readonly conversion: (elements: number) => number;
}

/** Costs of the same work on images and on rows. */
export interface CostPair {
  readonly images: number;
  readonly rows: number;
}

/** The sizes of a convolution. */
export interface ConvolutionShape {
  readonly samples: number;
  /** Positions of the input and of the output, for each sample. */
  readonly positions: { readonly input: number; readonly output: number };
  readonly channels: number;
  readonly units: number;
  /** Positions of the kernel. */
  readonly kernel: number;
  /** Whether the gradient of the input, and that of the kernel are needed. */
  readonly gradients: { readonly input: boolean; readonly kernel: boolean };
}

/** Costs that were measured (bench/layouts.ts). */
export const measuredCosts: LayoutCosts = {
  convolution: ({ positions: { output }, kernel }) =>
    kernel === 1 || output <= 64 ? { images: 1e6, rows: 0 } : { images: 0, rows: 1e6 },
  perChannel: (elements, positions) => ({ images: positions < 64 ? elements * 0.0005 : 0, rows: 0 }),
  conversion: (elements) => 5 + elements * 0.001,
};

/** The costs of a node with its gradients. */
export function nodeCosts(
  node: Node,
  form: RowForm,
  active: ReadonlySet<Value>,
  trained: ReadonlySet<string>,
  costs: LayoutCosts,
): CostPair {
  const [x, w] = node.inputs;
  const [y] = node.outputs;
  if (node.op === "Conv" && x?.shape && w?.shape && y?.shape) {
    return costs.convolution({
      samples: dimAt(x.shape, 0),
      positions: { input: positionsOf(x.shape), output: positionsOf(y.shape) },
      channels: dimAt(x.shape, 1),
      units: dimAt(y.shape, 1),
      kernel: elementCount(w.shape.slice(2)),
      gradients: { input: active.has(x), kernel: active.has(w) || trained.has(w.name) },
    });
  }
  if (!form.perChannel || !y?.shape) return { images: 0, rows: 0 };
  return costs.perChannel(elementCount(y.shape), positionsOf(y.shape));
}

/** The cost of changing a value's layout, in both directions if it has a gradient. */
export function conversionCost(shape: Shape, active: boolean, costs: LayoutCosts): number {
  if (positionsOf(shape) === 1) return active ? 2 : 1;
  return costs.conversion(elementCount(shape)) * (active ? 2 : 1);
}
