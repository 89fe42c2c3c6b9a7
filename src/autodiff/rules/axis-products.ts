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
  const pieces = spansOf(taps, length, longest).map((span, index) => {
    const start = index * longest;
    return piece(g, flat, taps, { start, count: Math.min(longest, length - start), span });
  });
  return g.reshape(
    g.concat(pieces, 1),
    dy.shape.map((dim, i) => (i === axis ? length : dim)),
  );
}

/** The first and the last place of `taps` that reads an element of a piece. */
type Span = readonly [low: number, high: number];

/** The span of each piece of `longest` elements; undefined for one that nothing reads. */
function spansOf(taps: readonly Taps[], length: number, longest: number): (Span | undefined)[] {
  const spans = new Array<Span | undefined>(Math.ceil(length / longest)).fill(undefined);
  for (const [place, tap] of taps.entries())
    for (const [element, weight] of tap) {
      const index = Math.floor(element / longest);
      if (weight !== 0 && index in spans) spans[index] = [spans[index]?.[0] ?? place, place];
    }
  return spans;
}

/** Elements `start` … `start + count − 1` of the result: [outer, to(, inner)] → [outer, count(, inner)]. */
function piece(
  g: Emit,
  flat: Typed,
  taps: readonly Taps[],
  { start, count, span }: { readonly start: number; readonly count: number; readonly span: Span | undefined },
): Typed {
  const [outer, , ...inner] = flat.shape as [number, number, ...number[]];
  if (!span) return g.filled(0, [outer, count, ...inner], flat.type);
  const [low, high] = span;
  const width = high + 1 - low;
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
