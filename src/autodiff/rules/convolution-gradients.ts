import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { allAxes, dimAt, type Shape } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import {
  isPointwise,
  kernelPositions,
  reachedEnd,
  type WindowGeometry,
  windowSpan,
} from "./window-geometry.ts";

/**
 * Up to this many channels a group, a kernel's gradient gathers all windows into one matrix; above it one MatMul a
 * kernel position is faster (docs/decisions.md, convolution gradients).
 */
const gatherUpToChannels = 16;

/**
 * The elements at one kernel position of every window: `x` [N, C, input…] → [N, C, output…] per position, row-major.
 * @param fill - value of the padding
 */
export function windowSlices(g: Emit, x: Typed, geometry: WindowGeometry, fill = 0): Typed[] {
  const { kernel, strides, dilations, output } = geometry;
  const padded = g.pad(x, [0, 0, ...geometry.begin, 0, 0, ...reachedEnd(geometry)], fill);
  return kernelPositions(kernel).map((position) =>
    g.slice(
      padded,
      position.map((offset, axis) => ({
        axis: axis + 2,
        start: offset * dimAt(dilations, axis),
        length: dimAt(output, axis),
        step: dimAt(strides, axis),
      })),
    ),
  );
}

/**
 * Gradient of a convolution's kernel: over the windows of `read` [N, R, input…], weighted by `given` [N, G, output…],
 * → [G, R/group, kernel…]. Conv reads x and is given dY; ConvTranspose reads dY and is given x.
 */
export function kernelGradient(
  g: Emit,
  read: Typed,
  given: Typed,
  geometry: WindowGeometry,
  group: number,
): Typed {
  const { kernel, output } = geometry;
  const [batch, givenChannels, readChannels] = [
    dimAt(read.shape, 0),
    dimAt(given.shape, 1),
    dimAt(read.shape, 1),
  ];
  const [rows, columns] = [givenChannels / group, readChannels / group];
  const points = elementCount(output);
  const shape = [givenChannels, columns, ...kernel];
  const lead = group === 1 ? [batch] : [batch, group];
  const left = g.reshape(given, [...lead, rows, points]);
  // Σₙ given · readᵀ: one matrix [rows, columns] a group. ONNX Runtime runs Transpose + MatMul as one kernel.
  const product = (slice: Typed, width: number) =>
    g.reduceSum(g.matMul(left, g.transposeLast(g.reshape(slice, [...lead, width, points]))), [0]);

  if (isPointwise(geometry)) return g.reshape(product(read, columns), shape);
  const slices = windowSlices(g, read, geometry);
  if (rows === 1 && columns === 1) {
    const axes = allAxes(read.shape.length).filter((axis) => axis !== 1);
    const sums = slices.map((slice) => g.reshape(g.reduceSum(g.mul(slice, given), axes), [givenChannels, 1]));
    return g.reshape(g.concat(sums, 1), shape);
  }
  if (columns > gatherUpToChannels || slices.length === 1) {
    const parts = slices.map((slice) => g.reshape(product(slice, columns), [givenChannels, columns, 1]));
    return g.reshape(g.concat(parts, 2), shape);
  }
  // [N, group, positions, columns, output…] → one product with all positions.
  const perGroup = slices.map((slice) => g.reshape(slice, [batch, group, 1, columns, ...output]));
  const gathered = g.concat(group === 1 ? slices : perGroup, group === 1 ? 1 : 2);
  const all = g.reshape(product(gathered, slices.length * columns), [givenChannels, slices.length, columns]);
  return g.reshape(g.transposeLast(all), shape);
}

/** The convolution of `read` [N, R, input…] with `weight` [G, R/group, kernel…] → [N, G, output…]: exactly its windows. */
export function slideWindows(
  g: Emit,
  read: Typed,
  weight: Typed,
  geometry: WindowGeometry,
  group: number,
): Typed {
  const { strides, dilations, begin } = geometry;
  return g.conv(read, weight, { strides, dilations, group, pads: [...begin, ...reachedEnd(geometry)] });
}

/**
 * The adjoint of a convolution: spreads `values` [N, G, output…] through `weight` [G, R/group, kernel…] back over what
 * its windows read → [N, R, input…]. Conv's gradient to x, and pooling's (a kernel of ones).
 */
export function spreadWindows(
  g: Emit,
  values: Typed,
  weight: Typed,
  geometry: WindowGeometry,
  group: number,
): Typed {
  const { kernel, strides, dilations, begin, input } = geometry;
  if (kernel.length > 2) return spreadByConvolution(g, values, weight, geometry, group);
  // ConvTranspose cannot pad by less than 0: where windows end before the input does, output_padding adds the rest.
  const rest = input.map((dim, axis) => dim + dimAt(begin, axis) - windowSpan(geometry, axis));
  return g.convTranspose(values, weight, {
    strides,
    dilations,
    group,
    pads: [...begin, ...rest.map((left) => Math.max(0, -left))],
    outputPadding: rest.map((left) => Math.max(0, left)),
  });
}

/**
 * {@link spreadWindows} as a convolution of the zero-stuffed values with the flipped kernel: for backends without a
 * 3-D ConvTranspose (WebGPU), and for those whose Conv is faster.
 */
export function spreadByConvolution(
  g: Emit,
  values: Typed,
  weight: Typed,
  geometry: WindowGeometry,
  group: number,
): Typed {
  const { kernel, strides, dilations, begin, input } = geometry;
  const stuffed = insertZeros(g, values, strides);
  const reach = kernel.map((size, axis) => (size - 1) * dimAt(dilations, axis));
  const before = reach.map((r, axis) => r - dimAt(begin, axis));
  const after = input.map((dim, axis) => {
    const available = dimAt(stuffed.shape, axis + 2) + dimAt(before, axis) - dimAt(reach, axis);
    return dim - available;
  });
  // Conv pads by 0 or more; what is negative is cropped.
  const negative = (pads: number[]) => pads.map((pad) => Math.min(0, pad));
  const positive = (pads: number[]) => pads.map((pad) => Math.max(0, pad));
  const cropped = g.pad(stuffed, [0, 0, ...negative(before), 0, 0, ...negative(after)]);
  return g.conv(cropped, flippedKernel(g, weight, group), {
    strides: kernel.map(() => 1),
    dilations,
    group,
    pads: [...positive(before), ...positive(after)],
  });
}

/** Kernel [G, R/group, kernel…] with inputs and outputs exchanged within each group, reversed along each axis. */
function flippedKernel(g: Emit, weight: Typed, group: number): Typed {
  const [given, columns, ...kernel] = weight.shape as [number, number, ...number[]];
  const rows = given / group;
  const grouped = g.reshape(weight, [group, rows, columns, ...kernel]);
  const order = [0, 2, 1, ...kernel.map((_, axis) => axis + 3)];
  const exchanged = g.reshape(g.transpose(grouped, order), [group * columns, rows, ...kernel]);
  const reversed = kernel.flatMap((size, axis) =>
    size === 1 ? [] : [{ axis: axis + 2, start: size - 1, length: size, step: -1 }],
  );
  return reversed.length === 0 ? exchanged : g.slice(exchanged, reversed);
}

/** stride − 1 zeros between neighbours along each spatial axis of `x` [N, C, spatial…]. */
function insertZeros(g: Emit, x: Typed, strides: readonly number[]): Typed {
  if (strides.every((stride) => stride === 1)) return x;
  const [batch, channels, ...spatial] = x.shape as [number, number, ...number[]];
  const split: Shape = [batch, channels, ...spatial.flatMap((dim) => [dim, 1])];
  const zeros = [0, 0, ...strides.flatMap((stride) => [0, stride - 1])];
  const stuffed = g.pad(g.reshape(x, split), [...zeros.map(() => 0), ...zeros]);
  const joined = g.reshape(stuffed, [
    batch,
    channels,
    ...spatial.map((dim, axis) => dim * dimAt(strides, axis)),
  ]);
  return g.slice(
    joined,
    spatial.map((dim, axis) => ({ axis: axis + 2, start: 0, length: (dim - 1) * dimAt(strides, axis) + 1 })),
  );
}
