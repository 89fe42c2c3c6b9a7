import type { WindowGeometry } from "../../autodiff/rules/window-geometry.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";

/**
 * The windows of a convolution as rows: x [N, …space, C] → [N·…windows, …kernel·C], so that the convolution is one product
 * with the kernel as [...kernel·C, K].
 *
 * One spatial axis after the other, the last one first: an axis of length L becomes the axis of the windows, and the elements
 * that a window reads are put side by side as channels. Each of them is the axis moved by some elements, which is one Pad
 * with positive and negative numbers. So two axes with a kernel of 3 take 4 Pads and 2 Concats in place of a Pad, 9 Slices and
 * a Concat, and their gradients add up 3 and 3 parts in place of 9 (measured: docs/decisions.md).
 */
export function rowPatches(g: Emit, x: Typed, geometry: WindowGeometry): Typed {
  const rank = geometry.kernel.length;
  let patches = x;
  for (let axis = rank - 1; axis >= 0; axis--) patches = windowsAlong(g, patches, geometry, axis);
  const columns = dimAt(patches.shape, -1);
  return g.reshape(patches, [elementCount(patches.shape) / columns, columns]);
}

/** Replaces spatial axis `axis` of x [N, …, L, …, C] by its windows: [N, …, windows, …, kernel·C]. */
function windowsAlong(g: Emit, x: Typed, geometry: WindowGeometry, axis: number): Typed {
  const at = axis + 1;
  const [size, stride, dilation, begin, windows] = (
    ["kernel", "strides", "dilations", "begin", "output"] as const
  ).map((part) => dimAt(geometry[part], axis)) as [number, number, number, number, number];
  // Window o reads the elements o·stride + offset.
  const offsets = Array.from({ length: size }, (_, t) => t * dilation - begin);
  const phased = stride === 1 ? x : inPhases(g, x, at, stride);
  const parts = offsets.map((offset) => {
    const [phase, block] = [modulo(offset, stride), Math.floor(offset / stride)];
    const { shape } = phased;
    const pads = new Array<number>(2 * shape.length).fill(0);
    pads[at] = -block;
    pads[at + shape.length] = windows + block - dimAt(shape, at);
    if (stride > 1) {
      pads[at + 1] = -phase;
      pads[at + 1 + shape.length] = phase + 1 - stride;
    }
    const moved = g.pad(phased, pads);
    const result = [...shape.slice(0, at), windows, ...shape.slice(stride > 1 ? at + 2 : at + 1)];
    return g.reshape(moved, result);
  });
  return g.concat(parts, -1);
}

/** Splits an axis of length L into blocks of `stride` elements: [⌈L/stride⌉, stride]. */
function inPhases(g: Emit, x: Typed, at: number, stride: number): Typed {
  const { shape } = x;
  const blocks = Math.ceil(dimAt(shape, at) / stride);
  const pads = new Array<number>(2 * shape.length).fill(0);
  pads[at + shape.length] = blocks * stride - dimAt(shape, at);
  return g.reshape(g.pad(x, pads), [...shape.slice(0, at), blocks, stride, ...shape.slice(at + 1)]);
}

const modulo = (a: number, b: number): number => ((a % b) + b) % b;
