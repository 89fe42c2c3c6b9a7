import { elementCount } from "../onnx/tensor.ts";
import type { Shape } from "./shapes.ts";

/**
 * How many numbers one operator adds up at most. ONNX Runtime's kernels keep one float32 sum for every result where the numbers
 * lie apart in memory, and a few where they lie side by side: what is added to a large sum is lost. Squares of 512 units'
 * products, a few near 1 and all others near 0, come out 1 % too small in one operator, 2e-7 in stages (docs/decisions.md).
 * Equal numbers are the worst case, since every addition rounds the same way: at these limits an operator is 3e-6 off.
 */
const most = { sideBySide: 1024, apart: 256 } as const;
/** An axis is not cut into pieces shorter than that. */
const leastPiece = 16;

/** What one operator reduces: axes of the tensor as it was at the beginning, whose numbers of elements do not exceed `most`. */
export interface Stage {
  readonly axes: readonly number[];
  /** Lengths of the pieces into which a single axis is cut before, innermost first; empty where it is not cut. */
  readonly pieces: readonly number[];
}

/**
 * The stages in which a sum or a mean over axes is taken: the last axes first, as many as may be reduced at once. Every stage
 * reduces axes before those of the stages before it, so that axes keep their places whether they are kept or dropped.
 *
 * @param axes - not negative
 * @param options.cut - whether single axes may be cut; not where their lengths are not known for good
 * @param options.keepdims - whether axes that are reduced stay, with the length 1
 */
export function reductionStages(
  shape: Shape,
  axes: readonly number[],
  { cut, keepdims }: { readonly cut: boolean; readonly keepdims: boolean },
): Stage[] {
  const rest = [...axes].sort((a, b) => a - b);
  const lengthOf = (some: readonly number[]) => elementCount(some.map((axis) => shape[axis] ?? 1));
  if (lengthOf(rest) <= most.apart) return [{ axes: rest, pieces: [] }];
  const stages: Stage[] = [];
  while (rest.length > 0) {
    // Numbers lie side by side where no axis is left behind them. ONNX Runtime adds [n, 1] up one by one, as it does [n, k].
    const reduced = stages.flatMap((stage) => stage.axes);
    const behind = shape.length - 1 - (rest.at(-1) ?? 0) - (keepdims ? 0 : reduced.length);
    const limit = behind === 0 ? most.sideBySide : most.apart;
    const stage: number[] = [];
    do {
      stage.unshift(rest.pop() as number);
    } while (
      rest.length > 0 &&
      lengthOf([...stage, ...rest.slice(-1)]) <= limit &&
      belongs(shape, rest, stage)
    );
    stages.push({ axes: stage, pieces: cut && stage.length === 1 ? piecesOf(lengthOf(stage), limit) : [] });
  }
  return stages;
}

/** Whether the next axis lies right before those of a stage. */
const belongs = (shape: Shape, rest: readonly number[], stage: readonly number[]): boolean =>
  shape.slice((rest.at(-1) ?? 0) + 1, stage[0]).every((length) => length === 1);

/** Divisors of a length, each at most `limit`, whose product leaves at most `limit` of it. */
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
