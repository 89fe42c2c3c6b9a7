import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { allAxes, dimAt } from "../../graph/shapes.ts";
import { listed } from "../../graph/stored-lists.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { lazy } from "../lazy.ts";

/** How values between the elements of an image are interpolated. */
export interface Sampling {
  readonly kernel: "nearest" | "linear" | "cubic";
  /** Values beyond the image: zeros, its border, or its reflection. */
  readonly beyond: "zeros" | "border" | "reflection";
  /** Reflect at the centers of the outermost elements (GridSample's align_corners) instead of at their outer edges. */
  readonly cornersAligned: boolean;
}

/** Neighbours that contribute, from offset `first` on; each weight is a polynomial in the position's fraction. */
const kernels: Readonly<
  Record<Sampling["kernel"], { first: number; weights: readonly (readonly number[])[] }>
> = {
  nearest: { first: 0, weights: [[1]] },
  linear: {
    first: 0,
    weights: [
      [1, -1],
      [0, 1],
    ],
  },
  // Keys' kernel with a = −0.75.
  cubic: {
    first: -1,
    weights: [
      [0, -0.75, 1.5, -0.75],
      [1, 0, -2.25, 1.25],
      [0, 0.75, 1.5, -1.25],
      [0, 0, -0.75, 0.75],
    ],
  },
};

/** Neighbours along one axis; every tensor is [neighbours, batch, points]. */
interface Neighbours {
  /** Indices of the elements, int32, always inside the image. */
  readonly elements: Typed;
  readonly weights: () => Typed;
  /** Derivatives of the weights with respect to the position. */
  readonly slopes: () => Typed;
}

/**
 * Reads an image X: [N, C, spatial…] at points between its elements, as GridSample and DeformConv do, and computes the
 * adjoints. A row holds the values of all channels at one point: [N, points, C].
 */
export class PointSampling {
  readonly #g: Emit;
  readonly #image: Typed;
  readonly #axes: readonly Neighbours[];
  /** Index of every neighbour in the image's rows, int32: [neighbours of all axes, N, points]. */
  readonly #elements: Typed;

  /** @param positions - for each spatial axis the positions of all points, in elements: [N, points] each */
  constructor(g: Emit, image: Typed, positions: readonly Typed[], sampling: Sampling) {
    this.#g = g;
    this.#image = image;
    const spatial = image.shape.slice(2);
    this.#axes = positions.map((position, axis) => neighbours(g, position, dimAt(spatial, axis), sampling));
    const inImage = this.#axes
      .map(({ elements }) => elements)
      .reduce((all, elements, axis) =>
        outer(g, g.mul(all, dimAt(spatial, axis)), elements, (a, b) => g.add(a, b)),
      );
    const batch = dimAt(image.shape, 0);
    const first = listed(batch, (n) => n * elementCount(spatial));
    this.#elements = g.add(inImage, g.constant("int32", [batch, 1], first));
  }

  /** Values of all neighbours: [neighbours, N, points, C]. */
  readonly #neighbourRows = lazy(() => {
    const [g, { shape }] = [this.#g, this.#image];
    const rows = g.transpose(this.#image, [0, ...allAxes(shape.length).slice(2), 1]);
    const channels = dimAt(shape, 1);
    return g.gather(g.reshape(rows, [elementCount(shape) / channels, channels]), this.#elements);
  });

  /** Weights of all neighbours: [neighbours, N, points, 1]; with `sloped`, their derivatives along that axis. */
  #weights(sloped?: number): Typed {
    const g = this.#g;
    const factors = this.#axes.map(({ weights, slopes }, axis) => (axis === sloped ? slopes() : weights()));
    const product = factors.reduce((all, factor) => outer(g, all, factor, (a, b) => g.mul(a, b)));
    return g.reshape(product, [...product.shape, 1]);
  }

  /** The values at the points: [N, points, C]. */
  rows(): Typed {
    return this.#g.reduceSum(this.#g.mul(this.#neighbourRows(), this.#weights()), [0]);
  }

  /** Gradient of the image from the gradient of the rows: [N, points, C] → the image's shape. */
  imageGradient(rows: Typed): Typed {
    const [g, { shape, type }] = [this.#g, this.#image];
    const [batch, channels, ...spatial] = shape as [number, number, ...number[]];
    const shares = g.mul(this.#weights(), rows);
    const count = elementCount(shares.shape) / channels;
    const sum = g.scatterAdd(
      g.filled(0, [batch * elementCount(spatial), channels], type),
      g.reshape(g.cast(this.#elements, "int64"), [count, 1]),
      g.reshape(shares, [count, channels]),
    );
    const rank = shape.length;
    const order = [0, rank - 1, ...allAxes(rank - 1).slice(1)];
    return g.transpose(g.reshape(sum, [batch, ...spatial, channels]), order);
  }

  /** Gradient of the positions along each axis from the gradient of the rows: [N, points, C] → [N, points] each. */
  positionGradients(rows: Typed): Typed[] {
    const g = this.#g;
    const products = g.reduceSum(g.mul(this.#neighbourRows(), rows), [3], true);
    return this.#axes.map((_, axis) => g.reduceSum(g.mul(products, this.#weights(axis)), [0, 3]));
  }
}

/** Combines all pairs along the first axis: a: [m, …], b: [n, …] → [m·n, …]. */
function outer(g: Emit, a: Typed, b: Typed, combine: (a: Typed, b: Typed) => Typed): Typed {
  const [[m, ...rest], [n]] = [a.shape as [number, ...number[]], b.shape as [number]];
  return g.reshape(combine(g.reshape(a, [m, 1, ...rest]), b), [m * n, ...rest]);
}

function neighbours(g: Emit, position: Typed, length: number, sampling: Sampling): Neighbours {
  const { type } = position;
  const { first, weights } = kernels[sampling.kernel];
  const column = (values: readonly number[]) => g.numbers(values, [values.length, 1, 1], type);
  const before = sampling.kernel === "nearest" ? roundHalfEven(g, position) : g.floor(position);
  const distance = g.sub(position, before);
  const elements = g.add(before, column(weights.map((_, i) => first + i)));
  const last = length - 1;
  const mirrors = sampling.beyond === "reflection" && length > 1;
  const inside = mirrors ? reflected(g, elements, length, sampling.cornersAligned) : elements;
  const counts = lazy(() =>
    g.indicator(g.and(g.greaterOrEqual(elements, 0), g.lessOrEqual(elements, last)), type),
  );
  const counted = (values: Typed) => (sampling.beyond === "zeros" ? g.mul(values, counts()) : values);
  return {
    elements: g.cast(g.max(g.min(inside, last), 0), "int32"),
    weights: lazy(() => counted(polynomial(g, distance, weights, column))),
    slopes: lazy(() => counted(polynomial(g, distance, weights.map(derived), column))),
  };
}

/** Coefficients of the polynomial's derivative. */
const derived = (coefficients: readonly number[]) =>
  coefficients.length === 1 ? [0] : coefficients.slice(1).map((c, i) => c * (i + 1));

/** Evaluates one polynomial per row (Horner's scheme): x: [N, points] → [rows, N, points]. */
function polynomial(
  g: Emit,
  x: Typed,
  rows: readonly (readonly number[])[],
  column: (values: readonly number[]) => Typed,
): Typed {
  const degree = (rows[0]?.length ?? 1) - 1;
  const coefficients = (power: number) => column(rows.map((row) => row[power] ?? 0));
  let sum = g.expand(coefficients(degree), [rows.length, ...x.shape]);
  for (let power = degree - 1; power >= 0; power--) sum = g.add(g.mul(sum, x), coefficients(power));
  return sum;
}

/** The nearest integer; halves round to even, as ONNX Runtime rounds here. */
function roundHalfEven(g: Emit, x: Typed): Typed {
  const low = g.floor(x);
  const rest = g.sub(x, low);
  const odd = g.sub(low, g.mul(g.floor(g.mul(low, 0.5)), 2));
  return g.add(low, g.where(g.equal(rest, 0.5), odd, g.indicator(g.greater(rest, 0.5), x.type)));
}

/** Integers, reflected until they lie in 0 … length − 1. */
function reflected(g: Emit, elements: Typed, length: number, cornersAligned: boolean): Typed {
  const [period, shift] = cornersAligned ? [2 * (length - 1), 0] : [2 * length, 0.5];
  const away = g.abs(g.add(elements, shift));
  const rest = g.sub(away, g.mul(g.floor(g.div(away, period)), period));
  return g.sub(g.min(rest, g.sub(period, rest)), shift);
}
