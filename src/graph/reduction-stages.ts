import { elementCount } from "../onnx/tensor.ts";
import type { Shape } from "./shapes.ts";

/**
 * Largest count of numbers that one operator adds up. ONNX Runtime's kernels keep one float32 sum per result if the numbers
 * lie apart in memory, and a few sums if they lie side by side; small numbers added to a large sum are lost. For example, the
 * sum of the squared products of 512 units, a few near 1 and all others near 0, is 1 % too small in one operator and off by
 * 2e-7 in stages (docs/decisions.md).
 * Equal numbers are the worst case, since every addition rounds the same way: at these limits an operator is 3e-6 off.
 */
const most = { sideBySide: 1024, apart: 256 } as const;
/** Shortest piece into which an axis is cut. */
const leastPiece = 16;

/** The axes that one operator reduces, as axes of the original tensor; together they have at most `most` elements. */
export interface Stage {
  readonly axes: readonly number[];
  /** Lengths of the pieces into which a single axis is cut first, innermost first; empty if it is not cut. */
  readonly pieces: readonly number[];
  /** How many axes of length 1 behind a single axis are dropped first, so that its numbers lie side by side. */
  readonly dropped: number;
}

/**
 * The stages of a sum or a mean over axes: the last axes first, as many as one operator may reduce. Each stage reduces axes
 * in front of those of earlier stages, so that the remaining axes keep their indices whether reduced axes are kept or dropped.
 *
 * @param axes - not negative
 * @param options.cut - whether single axes may be cut, which requires that their lengths are the same in every run
 * @param options.keepdims - whether reduced axes remain, with length 1
 */
export function reductionStages(
  shape: Shape,
  axes: readonly number[],
  { cut, keepdims }: { readonly cut: boolean; readonly keepdims: boolean },
): Stage[] {
  const rest = [...axes].sort((a, b) => a - b);
  const lengthOf = (some: readonly number[]) => elementCount(some.map((axis) => shape[axis] ?? 1));
  if (lengthOf(rest) <= most.apart) return [{ axes: rest, pieces: [], dropped: 0 }];
  const stages: Stage[] = [];
  while (rest.length > 0) {
    // Numbers lie side by side if no axis remains behind them. ONNX Runtime adds up [n, 1] one by one, just as [n, k].
    const reduced = stages.flatMap((stage) => stage.axes);
    const behind = range((rest.at(-1) ?? 0) + 1, shape.length).filter((axis) => !reduced.includes(axis));
    const remaining = behind.length + (keepdims ? reduced.length : 0);
    const limit = remaining === 0 ? most.sideBySide : most.apart;
    const stage: number[] = [];
    do {
      stage.unshift(rest.pop() as number);
    } while (
      rest.length > 0 &&
      lengthOf([...stage, ...rest.slice(-1)]) <= limit &&
      belongs(shape, rest, stage)
    );
    const length = lengthOf(stage);
    const isLong = cut && stage.length === 1 && length > limit;
    const dropped = isLong && lengthOf(behind) === 1 ? remaining : 0;
    const longest = dropped > 0 ? most.sideBySide : limit;
    stages.push({ axes: stage, pieces: isLong ? piecesOf(length, longest) : [], dropped });
  }
  return stages;
}

/** Whether the next axis is adjacent to those of a stage (apart from axes of length 1). */
const belongs = (shape: Shape, rest: readonly number[], stage: readonly number[]): boolean =>
  shape.slice((rest.at(-1) ?? 0) + 1, stage[0]).every((length) => length === 1);

/** Divisors of a length, each at most `limit`; dividing the length by all of them leaves at most `limit`. */
function piecesOf(length: number, limit: number): number[] {
  const pieces: number[] = [];
  for (let left = length; left > limit; ) {
    let piece = limit;
    while (piece >= leastPiece && left % piece !== 0) piece--;
    if (piece < leastPiece) break;
    pieces.push(piece);
    left /= piece;
  }
  return pieces;
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
