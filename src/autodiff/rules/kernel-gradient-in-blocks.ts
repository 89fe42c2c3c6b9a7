import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { reachedEnd, type WindowGeometry } from "./window-geometry.ts";

/*
 * The other forms copy an operand for positions of the kernel, on one thread. docs/decisions.md, "dW in blocks", has the figures.
 */

/** Points of an image between which this form serves: below, products over rows are faster; beyond, sums in float32 lose accuracy. */
const points = { least: 144, most: 4096 };

/** Blocks of kernels that ONNX Runtime computes at once. */
const fastestBlocks = 4;

/**
 * Gradient of a convolution's kernel, [G, R, kernel…], for a runtime that convolves in blocks of channels
 * ({@link EmitOptions.channelBlock}): convolutions whose channels are the samples. The images are one of the two operands,
 * padded, and the kernels are the other one; block-convolutions recognises the latter.
 *
 *     dW = Conv(pad(readᵀ), givenᵀ)ᵀ, or, with the operands exchanged, dW = reversed(Conv(pad(givenᵀ), readᵀ))
 *
 * @returns undefined where another form is faster or such a runtime is not known
 */
export function kernelGradientInBlocks(
  g: Emit,
  read: Typed,
  given: Typed,
  geometry: WindowGeometry,
  group: number,
): Typed | undefined {
  const block = g.options.channelBlock;
  const { kernel, output } = geometry;
  const size = elementCount(output);
  if (!block || group !== 1 || kernel.length !== 2 || given.type !== "float") return undefined;
  // Images of a block of channels or more would be reordered too.
  if (dimAt(given.shape, 0) >= block) return undefined;
  if (elementCount(kernel) === 1 || size < points.least || size > points.most) return undefined;
  const [givenChannels, readChannels] = [dimAt(given.shape, 1), dimAt(read.shape, 1)];
  const padding = paddingOfGiven(geometry);
  // Few kernels leave the processor's registers idle.
  const few = givenChannels < fastestBlocks * block && givenChannels < readChannels;
  if (padding && readChannels % block === 0 && (few || givenChannels % block !== 0))
    return reversed(g, correlated(g, { images: given, kernels: read, ...padding }));
  if (givenChannels % block !== 0) return undefined;
  const { strides, dilations, begin } = geometry;
  const sums = correlated(g, {
    ...{ images: read, kernels: given, begin, end: reachedEnd(geometry) },
    ...{ strides: dilations, dilations: strides },
  });
  // Rows that no window reaches produce positions beyond the kernel; cut them off.
  const whole = g.slice(
    sums,
    kernel.map((length, axis) => ({ axis: axis + 2, start: 0, length })),
  );
  return g.transpose(whole, [1, 0, 2, 3]);
}

/** The padding with which `given` meets `read` at every position of the kernel, in reversed order; undefined where it does not. */
function paddingOfGiven({ kernel, strides, dilations, begin, input, output }: WindowGeometry) {
  const before = kernel.map((length, axis) => length - 1 - dimAt(begin, axis));
  const after = input.map((length, axis) => length - dimAt(output, axis) + dimAt(begin, axis));
  const steps = [...strides, ...dilations].every((step) => step === 1);
  if (!steps || [...before, ...after].some((length) => length < 0)) return undefined;
  return { begin: before, end: after, strides: [1, 1], dilations: [1, 1] };
}

interface Correlation {
  /** [N, I, …], padded by `begin` and `end`. */
  readonly images: Typed;
  /** [N, K, …]. */
  readonly kernels: Typed;
  readonly begin: readonly number[];
  readonly end: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
}

/** [I, K, …]: every channel of the images with every one of the kernels, summed over the samples. */
function correlated(g: Emit, { images, kernels, begin, end, strides, dilations }: Correlation): Typed {
  const [top = 0, left = 0] = begin;
  const [bottom = 0, right = 0] = end;
  // ONNX Runtime computes windows at the sides of an image one by one, those at the top and bottom as all others.
  const pads = [top, 0, bottom, 0];
  const [x, w] = [images, kernels].map((value) => g.transpose(value, [1, 0, 2, 3]));
  const sides = g.pad(x as Typed, [0, 0, 0, left, 0, 0, 0, right]);
  return g.conv(sides, w as Typed, { strides, dilations, pads, group: 1 });
}

/** [G, R, …] with all positions in reversed order. A Gather is faster than a Slice backwards. */
function reversed(g: Emit, kernels: Typed): Typed {
  const [given, read, ...kernel] = kernels.shape as [number, number, ...number[]];
  const positions = elementCount(kernel);
  const order = Array.from({ length: positions }, (_, position) => positions - 1 - position);
  const flat = g.reshape(kernels, [given, read, positions]);
  return g.reshape(g.gather(flat, g.int64s(order), 2), kernels.shape);
}
