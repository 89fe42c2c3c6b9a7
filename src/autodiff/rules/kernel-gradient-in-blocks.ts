import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { correlate, swapFirst } from "./correlate.ts";
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
  const exchanged = exchangedGeometry(geometry);
  // Few kernels leave the processor's registers idle.
  const few = givenChannels < fastestBlocks * block && givenChannels < readChannels;
  if (exchanged && readChannels % block === 0 && (few || givenChannels % block !== 0))
    return reversed(g, overSamples(g, given, read, exchanged));
  if (givenChannels % block !== 0) return undefined;
  return swapFirst(g, overSamples(g, read, given, geometry));
}

/** The windows of `read` that slide over `given`, one for each position of the kernel in reversed order; undefined if they would be cut off. */
function exchangedGeometry(geometry: WindowGeometry): WindowGeometry | undefined {
  const { kernel, strides, dilations, begin, input, output } = geometry;
  const before = kernel.map((length, axis) => length - 1 - dimAt(begin, axis));
  const after = input.map((length, axis) => length - dimAt(output, axis) + dimAt(begin, axis));
  const steps = [...strides, ...dilations].every((step) => step === 1);
  if (!steps || [...before, ...after].some((length) => length < 0)) return undefined;
  return { ...geometry, begin: before, end: after, input: output, output: input };
}

/** [I, K, kernel…]: every channel of `images` [N, I, …] with every one of `kernels` [N, K, …], summed over the samples. */
function overSamples(g: Emit, images: Typed, kernels: Typed, geometry: WindowGeometry): Typed {
  const { begin, input } = geometry;
  const [top, left] = [dimAt(begin, 0), dimAt(begin, 1)];
  const right = dimAt(reachedEnd(geometry), 1);
  // ONNX Runtime computes windows at the sides of an image one by one, those at the top and bottom as all others.
  const padded = g.pad(swapFirst(g, images), [0, 0, 0, left, 0, 0, 0, right]);
  const width = dimAt(input, 1) + left + right;
  const inner = { ...geometry, begin: [top, 0], input: [dimAt(input, 0), width] };
  return correlate(g, padded, swapFirst(g, kernels), inner, 1);
}

/** [G, R, …] with all positions in reversed order. A Gather is faster than a Slice backwards. */
function reversed(g: Emit, kernels: Typed): Typed {
  const [given, read, ...kernel] = kernels.shape as [number, number, ...number[]];
  const positions = elementCount(kernel);
  const order = Array.from({ length: positions }, (_, position) => positions - 1 - position);
  const flat = g.reshape(kernels, [given, read, positions]);
  return g.reshape(g.gather(flat, g.int64s(order), 2), kernels.shape);
}
