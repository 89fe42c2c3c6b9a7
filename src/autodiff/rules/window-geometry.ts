import { SorthError } from "../../errors.ts";
import type { Node } from "../../graph/node.ts";
import { dimAt, type Shape } from "../../graph/shapes.ts";
import { checkStored } from "../../graph/stored-lists.ts";
import { elementCount } from "../../onnx/tensor.ts";

/** Largest size of an axis, and so of a stride, dilation or padding that means something. */
const largestNumber = 2 ** 31 - 1;

/**
 * How windows slide over the spatial axes of a convolution or pooling, with all attributes resolved. Window `o` along an
 * axis reads the elements `o·stride − begin + t·dilation` for t = 0 … kernel−1.
 */
export interface WindowGeometry {
  readonly kernel: Shape;
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Padding before each axis. */
  readonly begin: readonly number[];
  /** Declared padding after each axis. Windows may end before it, or, with ceil_mode, beyond it. */
  readonly end: readonly number[];
  /** Spatial shape that the windows read. */
  readonly input: Shape;
  /** Spatial shape of the output: one element per window. */
  readonly output: Shape;
}

/**
 * Geometry of a Conv, ConvTranspose or pooling node, with defaults applied and auto_pad resolved.
 * @param kernel - spatial shape of the kernel (a convolution may lack the attribute `kernel_shape`)
 * @param input - spatial shape that the windows read (for ConvTranspose, that of the node's output)
 * @param output - spatial shape with one element per window (for ConvTranspose, that of the node's input)
 * @throws SorthError for numbers that no size reaches
 */
export function windowGeometry(node: Node, kernel: Shape, input: Shape, output: Shape): WindowGeometry {
  const rank = kernel.length;
  const strides = node.ints("strides") ?? Array<number>(rank).fill(1);
  const dilations = node.ints("dilations") ?? Array<number>(rank).fill(1);
  const pads = node.ints("pads") ?? Array<number>(2 * rank).fill(0);
  // ONNX Runtime's sizes overflow, and a derivative with such numbers makes it end the process.
  const beyond = [...strides, ...dilations, ...pads].find((number) => Math.abs(number) > largestNumber);
  if (beyond !== undefined)
    throw new SorthError(`${node.op} "${node.label}" has ${beyond} among its strides, dilations and pads`);
  if (output.some((windows) => windows < 0))
    throw new SorthError(`${node.op} "${node.label}" has windows longer than its images`);
  const geometry = {
    kernel,
    strides,
    dilations,
    input,
    output,
    begin: pads.slice(0, rank),
    end: pads.slice(rank),
  };
  const autoPad = node.string("auto_pad", "NOTSET");
  if (autoPad === "VALID") return { ...geometry, begin: kernel.map(() => 0), end: kernel.map(() => 0) };
  if (autoPad === "NOTSET" || autoPad === "") return geometry;
  const needed = input.map((dim, axis) => windowSpan(geometry, axis) - dim);
  if (node.op.endsWith("Pool")) refuseGaps(node, needed, autoPad);
  const total = needed.map((padding) => Math.max(0, padding));
  return { ...geometry, ...distributed(total, autoPad) };
}

/** Where windows leave gaps, ONNX Runtime's pools begin behind the first element: a padding below zero. Its convolutions do not. */
function refuseGaps(node: Node, needed: readonly number[], autoPad: string): void {
  if (needed.every((padding) => Math.trunc((padding + (autoPad === "SAME_UPPER" ? 0 : 1)) / 2) >= 0)) return;
  throw new SorthError(
    `${node.op} "${node.label}" leaves gaps between its windows, and with auto_pad ${autoPad} ONNX Runtime skips the first elements too: export it with explicit pads`,
  );
}

/** Padding on both sides of each axis; an odd element goes to the end with SAME_UPPER, else to the beginning. */
function distributed(total: readonly number[], autoPad: string): Pick<WindowGeometry, "begin" | "end"> {
  const smaller = total.map((padding) => padding >> 1);
  const larger = total.map((padding) => padding - (padding >> 1));
  return autoPad === "SAME_UPPER" ? { begin: smaller, end: larger } : { begin: larger, end: smaller };
}

/**
 * Geometry of a ConvTranspose node, seen as the convolution whose adjoint it is: one window per input element reads the
 * node's output. Padding that `output_shape` or `auto_pad` leave open is distributed as the ONNX specification says.
 * @param input - spatial shape of the node's input
 * @param output - spatial shape of its output
 */
export function transposedGeometry(node: Node, kernel: Shape, input: Shape, output: Shape): WindowGeometry {
  const autoPad = node.string("auto_pad", "NOTSET");
  const geometry = windowGeometry(node, kernel, output, input);
  // ONNX Runtime distributes what output_shape leaves open with VALID too.
  if (!node.ints("output_shape") && !autoPad.startsWith("SAME")) return geometry;
  const extra = node.ints("output_padding") ?? [];
  const total = output.map((dim, axis) => Math.max(0, windowSpan(geometry, axis) + (extra[axis] ?? 0) - dim));
  return { ...geometry, ...distributed(total, autoPad) };
}

/** Number of elements along an axis from the first element of the first window to the last element of the last window. */
export function windowSpan(geometry: Omit<WindowGeometry, "begin" | "end">, axis: number): number {
  const { output, strides, kernel, dilations } = geometry;
  return (
    (dimAt(output, axis) - 1) * dimAt(strides, axis) + (dimAt(kernel, axis) - 1) * dimAt(dilations, axis) + 1
  );
}

/** Padding after each axis that the windows really read: 0 where the windows end before the input does. */
export function reachedEnd(geometry: WindowGeometry): number[] {
  return geometry.input.map((dim, axis) =>
    Math.max(0, windowSpan(geometry, axis) - dim - dimAt(geometry.begin, axis)),
  );
}

/** Every position of a kernel, row-major: `[[0, 0], [0, 1], …]`. */
export function kernelPositions(kernel: Shape): number[][] {
  // Each may become a Slice, and ONNX Runtime takes 2 s to open 2,000 slices of one value, 30 s for 8,000.
  checkStored(elementCount(kernel), 256);
  return kernel.reduce<number[][]>(
    (positions, size) => positions.flatMap((at) => Array.from({ length: size }, (_, t) => [...at, t])),
    [[]],
  );
}

/** Whether each element is read by exactly one window: stride = kernel, no dilation, no padding, nothing left over. */
export function isPartition(geometry: WindowGeometry): boolean {
  const { kernel, strides, dilations, begin, input, output } = geometry;
  return kernel.every(
    (size, axis) =>
      strides[axis] === size &&
      (dilations[axis] === 1 || size === 1) &&
      begin[axis] === 0 &&
      input[axis] === size * dimAt(output, axis),
  );
}

/** Whether each window is the element at its own position: a 1×1 kernel with stride 1 and no padding. */
export function isPointwise(geometry: WindowGeometry): boolean {
  return isPartition(geometry) && geometry.kernel.every((size) => size === 1);
}
