import type { Node, Value } from "../../graph/node.ts";
import { dimAt, type Shape } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import type { RowForm } from "./row-operators.ts";
import { positionsOf } from "./rows.ts";

/** What work costs in both layouts with its gradients, in microseconds of one thread. */
export interface LayoutCosts {
  readonly convolution: (sizes: ConvolutionSizes) => CostPair;
  /** The cost of BatchNormalization of an image with this many elements and positions. */
  readonly normalization: (elements: number, positions: number) => CostPair;
  /** The cost of a change of layout, in one direction. */
  readonly conversion: (elements: number) => number;
}

/** The same for work on images and on rows. */
interface Both<T> {
  readonly images: T;
  readonly rows: T;
}

/** Costs of the same work on images and on rows. */
type CostPair = Both<number>;

export interface ConvolutionSizes {
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

/** The features whose weighted sum is the time of a convolution: one for each product and each array that is read or written. */
export function convolutionFeatures(sizes: ConvolutionSizes): Both<readonly number[]> {
  const { samples, positions, channels, units, kernel, gradients } = sizes;
  const products = 1 + (gradients.input ? 1 : 0) + (gradients.kernel ? 1 : 0);
  const rows = samples * positions.output;
  const columns = kernel * channels;
  const multiplications = rows * columns * units * products;
  const weights = columns * units * products;
  const arrays = samples * (positions.input * channels + positions.output * units);
  // ONNX Runtime's blocks of channels take over where there are whole blocks and enough positions.
  const blocks = kernel > 1 && positions.output >= 64 && channels % 16 === 0 && units % 16 === 0;
  const windows = rows * columns * products;
  return {
    images: [
      1,
      blocks ? 0 : multiplications,
      blocks ? multiplications : 0,
      // One product for each sample reads the weights each time.
      samples * weights,
      weights,
      arrays,
      blocks ? 0 : windows,
      samples * products,
    ],
    rows: [1, multiplications, weights, arrays, windows],
  };
}

/** The features whose weighted sum is the time of BatchNormalization: the elements, and the rows of positions that are read one by one. */
export const channelFeatures = (elements: number, positions: number): Both<readonly number[]> => ({
  images: [1, elements, elements / positions],
  rows: [1, elements, 0],
});

/** The features whose weighted sum is the time of a change of layout. */
export const conversionFeatures = (elements: number): readonly number[] => [1, elements];

/** Microseconds for each feature, fitted to measurements (bench/layouts.ts, bench/results/layouts.json). */
export const coefficients = {
  "windows images": [0, 6.38e-6, 1.41e-5, 0.000174, 0.00137, 0.00263, 0.000397, 0],
  "windows rows": [0, 1.79e-5, 4.92e-5, 0.00412, 0.000464],
  "pointwise images": [16.8, 1.33e-5, 0, 5.99e-5, 0, 0.000546, 0, 0],
  "pointwise rows": [15.2, 1.16e-5, 0.000141, 0.00062, 0],
  "normalization images": [0, 0.00307, 0.0102],
  "normalization rows": [0, 0.0035, 0],
  conversion: [0, 0.00031],
} satisfies Readonly<Record<string, readonly number[]>>;

const product = (weights: readonly number[], features: readonly number[]): number =>
  features.reduce((sum, feature, i) => sum + feature * (weights[i] ?? 0), 0);

/** The costs that {@link coefficients} give. */
export const measuredCosts: LayoutCosts = {
  convolution: (sizes) => {
    const { images, rows } = convolutionFeatures(sizes);
    const form = sizes.kernel === 1 ? "pointwise" : "windows";
    return {
      images: product(coefficients[`${form} images`], images),
      rows: product(coefficients[`${form} rows`], rows),
    };
  },
  normalization: (elements, positions) => {
    const { images, rows } = channelFeatures(elements, positions);
    return {
      images: product(coefficients["normalization images"], images),
      rows: product(coefficients["normalization rows"], rows),
    };
  },
  conversion: (elements) => product(coefficients.conversion, conversionFeatures(elements)),
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
  // The same blocks of channels, read from either layout.
  if (node.op === "Conv" && node.int("group", 1) > 1) return { images: 0, rows: 0 };
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
  const whole = costs.normalization(elementCount(y.shape), positionsOf(y.shape));
  // Other operators read numbers for each channel once forward and once backward, BatchNormalization three times as often.
  return node.op === "BatchNormalization" ? whole : { images: whole.images / 3, rows: whole.rows / 3 };
}

/** The cost of changing a value's layout, in both directions if it has a gradient. */
export function conversionCost(shape: Shape, active: boolean, costs: LayoutCosts): number {
  const passes = active ? 2 : 1;
  // With one position there is nothing to move, but each node costs a little.
  return positionsOf(shape) === 1 ? passes : costs.conversion(elementCount(shape)) * passes;
}
