import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt } from "../../graph/shapes.ts";
import { checkStored } from "../../graph/stored-lists.ts";
import { elementCount } from "../../onnx/tensor.ts";
import type { Taps } from "./interpolation.ts";

/** Elements of the result per piece: docs/decisions.md, "Resize". */
const pieceLength = 64;

/**
 * The adjoint of a linear map along one axis, `y[o] = Σ weight · x[element]` over the taps of o. Returns x's shape, with
 * `length` elements along the axis. The weights form a band about the diagonal, so the axis is cut into pieces: each piece
 * is the product of a part of `dy` with one block of the band. Equal blocks are stored once.
 */
export function transposedAlong(
  g: Emit,
  dy: Typed,
  axis: number,
  taps: readonly Taps[],
  length: number,
  longest = pieceLength,
): Typed {
  const outer = elementCount(dy.shape.slice(0, axis));
  const inner = elementCount(dy.shape.slice(axis + 1));
  const to = dimAt(dy.shape, axis);
  const flat = g.reshape(dy, inner === 1 ? [outer, to] : [outer, to, inner]);
  const pieces: Typed[] = [];
  for (let start = 0; start < length; start += longest) {
    const count = Math.min(longest, length - start);
    pieces.push(piece(g, flat, taps, start, count));
  }
  return g.reshape(
    g.concat(pieces, 1),
    dy.shape.map((dim, i) => (i === axis ? length : dim)),
  );
}

/** Elements `start` … `start + count − 1` of the result: [outer, to(, inner)] → [outer, count(, inner)]. */
function piece(g: Emit, flat: Typed, taps: readonly Taps[], start: number, count: number): Typed {
  const reached = (tap: Taps) =>
    tap.some(([element, weight]) => weight !== 0 && element >= start && element < start + count);
  const low = taps.findIndex(reached);
  const [outer, , ...inner] = flat.shape as [number, number, ...number[]];
  if (low < 0) return g.filled(0, [outer, count, ...inner], flat.type);
  const width = taps.findLastIndex(reached) + 1 - low;
  checkStored(count * width);
  const block = new Array<number>(count * width).fill(0);
  const last = inner.length === 0;
  for (let o = 0; o < width; o++) {
    for (const [element, weight] of taps[low + o] as Taps) {
      const i = element - start;
      if (i >= 0 && i < count) block[last ? o * count + i : i * width + o] = weight;
    }
  }
  const part = g.slice(flat, [{ axis: 1, start: low, length: width }]);
  const matrix = g.numbers(block, last ? [width, count] : [count, width], flat.type);
  return last ? g.matMul(part, matrix) : g.matMul(matrix, part);
}
