import type { Node } from "../../graph/node.ts";
import { dimAt, type Shape } from "../../graph/shapes.ts";

/**
 * How windows slide over the spatial axes of a convolution or a pooling, every attribute resolved. Window `o` of an
 * axis reads `o·stride − begin + t·dilation` for t = 0 … kernel−1.
 */
export interface WindowGeometry {
  readonly kernel: Shape;
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Padding before each axis. */
  readonly begin: readonly number[];
  /** Padding after each axis as declared; windows may end before it, or beyond it with ceil_mode. */
  readonly end: readonly number[];
  /** Spatial shape that windows read. */
  readonly input: Shape;
  /** Spatial shape of the windows: one element each. */
  readonly output: Shape;
}

/**
 * Geometry of a Conv, ConvTranspose or pooling node: attributes and their defaults, auto_pad resolved.
 * @param kernel - spatial shape of the kernel (attribute `kernel_shape` may be missing from a convolution)
 * @param input - spatial shape that the windows read (of a ConvTranspose: of its output)
 * @param output - one element a window (of a ConvTranspose: its input)
 */
export function windowGeometry(node: Node, kernel: Shape, input: Shape, output: Shape): WindowGeometry {
  const rank = kernel.length;
  const strides = node.ints("strides") ?? Array<number>(rank).fill(1);
  const dilations = node.ints("dilations") ?? Array<number>(rank).fill(1);
  const pads = node.ints("pads") ?? Array<number>(2 * rank).fill(0);
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
  const total = input.map((dim, axis) => Math.max(0, windowSpan(geometry, axis) - dim));
  const smaller = total.map((padding) => padding >> 1);
  const larger = total.map((padding) => padding - (padding >> 1));
  return autoPad === "SAME_UPPER"
    ? { ...geometry, begin: smaller, end: larger }
    : { ...geometry, begin: larger, end: smaller };
}

/**
 * Geometry of a ConvTranspose node, seen as the convolution whose adjoint it is: windows read its output, one for each
 * of its inputs. Padding that `output_shape` or `auto_pad` leave open is shared out as the ONNX specification says.
 * @param input - spatial shape of the node's input
 * @param output - spatial shape of its output
 */
export function transposedGeometry(node: Node, kernel: Shape, input: Shape, output: Shape): WindowGeometry {
  const autoPad = node.string("auto_pad", "NOTSET");
  const geometry = windowGeometry(node, kernel, output, input);
  if (autoPad === "VALID") return geometry;
  if (!node.ints("output_shape") && !autoPad.startsWith("SAME")) return geometry;
  const extra = node.ints("output_padding") ?? [];
  const total = output.map((dim, axis) => Math.max(0, windowSpan(geometry, axis) + (extra[axis] ?? 0) - dim));
  const smaller = total.map((padding) => padding >> 1);
  const larger = total.map((padding) => padding - (padding >> 1));
  return autoPad === "SAME_UPPER"
    ? { ...geometry, begin: smaller, end: larger }
    : { ...geometry, begin: larger, end: smaller };
}

/** Extent along an axis from the first element of the first window to the last element of the last one. */
export function windowSpan(geometry: Omit<WindowGeometry, "begin" | "end">, axis: number): number {
  const { output, strides, kernel, dilations } = geometry;
  return (
    (dimAt(output, axis) - 1) * dimAt(strides, axis) + (dimAt(kernel, axis) - 1) * dimAt(dilations, axis) + 1
  );
}

/** Padding after each axis that the windows really reach: at least 0; 0 too where they end before the input does. */
export function reachedEnd(geometry: WindowGeometry): number[] {
  return geometry.input.map((dim, axis) =>
    Math.max(0, windowSpan(geometry, axis) - dim - dimAt(geometry.begin, axis)),
  );
}

/** Every position of a kernel, row-major: `[[0, 0], [0, 1], …]`. */
export function kernelPositions(kernel: Shape): number[][] {
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

/** Whether windows are single elements in place: a 1×1 kernel with stride 1 and no padding. */
export function isPointwise(geometry: WindowGeometry): boolean {
  return isPartition(geometry) && geometry.kernel.every((size) => size === 1);
}
