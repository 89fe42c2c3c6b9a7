import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { allAxes } from "../../graph/shapes.ts";
import { reachedEnd, type WindowGeometry } from "./window-geometry.ts";

/** [N, C, …] → [C, N, …]. */
export const swapFirst = (g: Emit, x: Typed): Typed =>
  g.transpose(x, [1, 0, ...allAxes(x.shape.length).slice(2)]);

/** Convolves `read` with `given` as kernels, strides and dilations exchanged: one result per position of the kernel. */
export function correlate(
  g: Emit,
  read: Typed,
  given: Typed,
  geometry: WindowGeometry,
  group: number,
): Typed {
  const { kernel, strides, dilations, begin } = geometry;
  const correlated = g.conv(read, given, {
    ...{ strides: dilations, dilations: strides, group },
    pads: [...begin, ...reachedEnd(geometry)],
  });
  // Rows that no window reaches produce positions beyond the kernel; cut them off.
  return g.slice(
    correlated,
    kernel.map((length, axis) => ({ axis: axis + 2, start: 0, length })),
  );
}
