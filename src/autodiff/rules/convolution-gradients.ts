import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt, type Shape } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { correlate, swapFirst } from "./correlate.ts";
import { kernelGradientInBlocks } from "./kernel-gradient-in-blocks.ts";
import {
  isPointwise,
  kernelPositions,
  reachedEnd,
  type WindowGeometry,
  windowSpan,
} from "./window-geometry.ts";

/*
 * Each form below was the fastest of several on the CPU for its shapes. `bench/gradients/convolution.ts` measures them;
 * docs/decisions.md, "Convolution gradients", has the figures.
 */

/** Up to this many channels per group, one product over all gathered kernel positions replaces one per position. */
const gatherUpToChannels = 4;

/** From this many kernel positions on, a convolution gathers them faster than slices do. */
const convolveFromPositions = 16;

/** Up to this many points, products over rows of the whole batch; beyond that, one product per sample. */
const rowsUpToPoints = 1024;

/**
 * For each kernel position (row-major) the elements that all windows read there: `x` [N, C, input…] → [N, C, output…].
 * @param fill - value of the padding
 */
export function windowSlices(g: Emit, x: Typed, geometry: WindowGeometry, fill = 0): Typed[] {
  return slicesAt(g, x, geometry, 2, fill);
}

/** The same for images whose spatial axes begin at `first`. */
function slicesAt(g: Emit, x: Typed, geometry: WindowGeometry, first: number, fill = 0): Typed[] {
  const { kernel, strides, dilations, output, begin } = geometry;
  const around = (inside: readonly number[]) => x.shape.map((_, axis) => inside[axis - first] ?? 0);
  const padded = g.pad(x, [...around(begin), ...around(reachedEnd(geometry))], fill);
  return kernelPositions(kernel).map((position) =>
    g.slice(
      padded,
      position.map((offset, axis) => ({
        axis: axis + first,
        start: offset * dimAt(dilations, axis),
        length: dimAt(output, axis),
        step: dimAt(strides, axis),
      })),
    ),
  );
}

/**
 * Gradient of a convolution's kernel, [G, R/group, kernel…]: the sum of the windows of `read` [N, R, input…], weighted
 * by `given` [N, G, output…]. For Conv, `read` is x and `given` is dY; for ConvTranspose it is the reverse.
 */
export function kernelGradient(
  g: Emit,
  read: Typed,
  given: Typed,
  geometry: WindowGeometry,
  group: number,
): Typed {
  const { kernel, output } = geometry;
  const givenChannels = dimAt(given.shape, 1);
  const [rows, columns] = [givenChannels / group, dimAt(read.shape, 1) / group];
  const positions = elementCount(kernel);
  const points = elementCount(output);
  const shape = [givenChannels, columns, ...kernel];
  // An empty batch: the sum is 0, and a convolution cannot have 0 groups.
  if (elementCount(given.shape) === 0) return g.expand(g.reduceSum(given), shape);
  const inBlocks = kernelGradientInBlocks(g, read, given, geometry, group);
  if (inBlocks) return inBlocks;
  if (group > 1 && columns === 1 && !isPointwise(geometry))
    return g.reshape(byGroupedConvolution(g, read, given, geometry), shape);
  if (columns <= gatherUpToChannels && positions > 1) {
    if (group === 1 && positions >= convolveFromPositions)
      return byConvolutionOverBatch(g, read, given, geometry);
    return g.reshape(byGathering(g, read, given, geometry, group), shape);
  }
  // A product per sample writes one matrix per sample, to be summed; one over rows copies the operands first.
  const small = positions * rows * columns > points * (rows + columns);
  if (group === 1 && (small || (positions > 1 && points <= rowsUpToPoints)))
    return byRows(g, read, given, geometry);
  if (group === 1 && givenChannels <= columns && shiftsAlongFirst(geometry))
    return byShifts(g, read, given, geometry);
  const product = batchedProduct(g, given, group);
  const parts = windowSlices(g, read, geometry).map((slice) =>
    g.reshape(product(slice), [givenChannels, columns, 1]),
  );
  return g.reshape(g.concat(parts, 2), shape);
}

/** Σₙ given · sliceᵀ over the points, group by group: slice [N, R, points…] → [group, G/group, R/group]. */
function batchedProduct(g: Emit, given: Typed, group: number): (slice: Typed) => Typed {
  const [batch, channels, ...output] = given.shape as [number, number, ...number[]];
  const points = elementCount(output);
  const matrices = (value: Typed) => {
    const rows = dimAt(value.shape, 1) / group;
    return g.reshape(value, group === 1 ? [batch, rows, points] : [batch, group, rows, points]);
  };
  const left = matrices(g.reshape(given, [batch, channels, points]));
  // ONNX Runtime runs Transpose + MatMul as one kernel.
  return (slice) => g.reduceSum(g.matMul(left, g.transposeLast(matrices(slice))), [0]);
}

/** Whether a kernel moves along the first axis by single elements, and never past all values there. */
function shiftsAlongFirst(geometry: WindowGeometry): boolean {
  const { kernel, strides, begin, output } = geometry;
  const reach = Math.max(dimAt(begin, 0), dimAt(reachedEnd(geometry), 0));
  return dimAt(kernel, 0) > 1 && strides[0] === 1 && reach < dimAt(output, 0);
}

/**
 * For one group and stride 1 along the first axis: where the kernel moves along that axis, the given values are moved instead,
 * [N, K·G, points] for all K places at once. So K times fewer windows are copied, and the products have K times as many rows.
 */
function byShifts(g: Emit, read: Typed, given: Typed, geometry: WindowGeometry): Typed {
  const { kernel, dilations, begin, input, output } = geometry;
  const [batch, channels] = given.shape as [number, number];
  const [places, columns] = [dimAt(kernel, 0), dimAt(read.shape, 1)];
  const around = (first: number) => [0, 0, first, ...output.slice(1).map(() => 0)];
  const moved = Array.from({ length: places }, (_, place) => {
    const before = place * dimAt(dilations, 0) - dimAt(begin, 0);
    const after = dimAt(input, 0) - dimAt(output, 0) - before;
    return g.pad(given, [...around(before), ...around(after)]);
  });
  const whole = [dimAt(input, 0), ...output.slice(1)];
  const all = g.reshape(g.concat(moved, 1), [batch, places * channels, ...whole]);
  const product = batchedProduct(g, all, 1);
  const others = { kernel: [1, ...kernel.slice(1)], output: whole, begin: [0, ...begin.slice(1)] };
  const parts = windowSlices(g, read, { ...geometry, ...others }).map((slice) =>
    g.reshape(product(slice), [places, channels, columns, 1]),
  );
  const byPlace = g.transpose(g.concat(parts, 3), [1, 2, 0, 3]);
  return g.reshape(byPlace, [channels, columns, ...kernel]);
}

/** For one group: per kernel position, given [G, N·points] times the elements read there as rows [N·points, R]. */
function byRows(g: Emit, read: Typed, given: Typed, geometry: WindowGeometry): Typed {
  const { kernel } = geometry;
  const [channels, columns] = [dimAt(given.shape, 1), dimAt(read.shape, 1)];
  const rows = elementCount(given.shape) / channels;
  const left = g.reshape(swapFirst(g, given), [channels, rows]);
  const spatial = kernel.map((_, axis) => axis + 2);
  const products = slicesAt(g, g.transpose(read, [0, ...spatial, 1]), geometry, 1).map((slice) =>
    g.gemm(left, g.reshape(slice, [rows, columns])),
  );
  const joined = g.reshape(g.concat(products, 1), [channels, ...kernel, columns]);
  return g.transpose(joined, [0, kernel.length + 1, ...kernel.map((_, axis) => axis + 1)]);
}

/**
 * For few channels and many kernel positions: a convolution whose channels are the samples and whose kernels are the
 * given values; strides and dilations change places → [G, R, kernel…].
 */
function byConvolutionOverBatch(g: Emit, read: Typed, given: Typed, geometry: WindowGeometry): Typed {
  return swapFirst(g, correlate(g, swapFirst(g, read), swapFirst(g, given), geometry, 1));
}

/** For few channels: gathers all kernel positions side by side for one product → [G, R/group, positions]. */
function byGathering(g: Emit, read: Typed, given: Typed, geometry: WindowGeometry, group: number): Typed {
  const [batch, channels] = read.shape as [number, number];
  const columns = channels / group;
  const perGroup = windowSlices(g, read, geometry).map((slice) =>
    g.reshape(slice, [batch, group, columns, ...geometry.output]),
  );
  const gathered = g.concat(perGroup, 2);
  const positions = perGroup.length;
  const all = g.reshape(gathered, [batch, group * positions * columns, ...geometry.output]);
  const product = batchedProduct(g, given, group)(all);
  return g.transposeLast(g.reshape(product, [dimAt(given.shape, 1), positions, columns]));
}

/**
 * For one input channel per group (depthwise): a convolution with one group per sample and channel, whose kernels are the
 * given values; strides and dilations change places. Summed over the batch → [G, 1, kernel…].
 */
function byGroupedConvolution(g: Emit, read: Typed, given: Typed, geometry: WindowGeometry): Typed {
  const { kernel, input, output } = geometry;
  const [batch, channels] = read.shape as [number, number];
  const [planes, perSample] = [batch * channels, dimAt(given.shape, 1)];
  const [images, kernels] = [
    [1, planes, ...input],
    [batch * perSample, 1, ...output],
  ];
  const sums = correlate(g, g.reshape(read, images), g.reshape(given, kernels), geometry, planes);
  return g.reduceSum(g.reshape(sums, [batch, perSample, 1, ...kernel]), [0]);
}

/** Convolves `read` [N, R, input…] with `weight` [G, R/group, kernel…] at exactly the given windows → [N, G, output…]. */
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
 * The adjoint of a convolution: spreads `values` [N, G, output…] through `weight` [G, R/group, kernel…] over the elements
 * that the windows read → [N, R, input…]. This is Conv's gradient of x, and that of pooling (with a kernel of ones).
 */
export function spreadWindows(
  g: Emit,
  values: Typed,
  weight: Typed,
  geometry: WindowGeometry,
  group: number,
): Typed {
  const { kernel, strides, dilations, begin, input } = geometry;
  const columns = dimAt(weight.shape, 1);
  const depthwise = columns === 1 && group === dimAt(weight.shape, 0) && group > 1;
  const dense = strides.every((stride) => stride === 1);
  // With stride 1 and enough work, Conv is faster than ConvTranspose. In 3-D, WebGPU has no ConvTranspose.
  const large = columns >= 8 && elementCount(geometry.output) >= 64;
  if (kernel.length > 2 || (dense && (depthwise || large || isPointwise(geometry)))) {
    return spreadByConvolution(g, values, weight, geometry, group);
  }
  // ConvTranspose has no negative padding: where the windows end before the input, output_padding adds the rest.
  const rest = input.map((dim, axis) => dim + dimAt(begin, axis) - windowSpan(geometry, axis));
  return g.convTranspose(values, weight, {
    strides,
    dilations,
    group,
    pads: [...begin, ...rest.map((left) => Math.max(0, -left))],
    outputPadding: rest.map((left) => Math.max(0, left)),
  });
}

/** {@link spreadWindows} as a convolution with the flipped kernel, after inserting zeros between the values. */
function spreadByConvolution(
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
  // Conv has no negative padding: crop instead.
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
  const exchanged =
    group === 1
      ? swapFirst(g, weight)
      : g.reshape(g.transpose(grouped, order), [group * columns, rows, ...kernel]);
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
