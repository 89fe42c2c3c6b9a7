import { dimAt, type Shape } from "../graph/shapes.ts";
import type { Objective } from "../losses/objective.ts";
import { elementCount } from "../onnx/tensor.ts";

/** A place of a sample that has a class: its score of each class, and its class. */
interface ClassRow {
  readonly scores: readonly number[];
  readonly label: number;
}

/** The number of classes in predictions of the given shape. */
export const classesOf = (objective: Objective, shape: Shape): number =>
  dimAt(shape, objective.classAxis?.(shape) ?? 1);

/**
 * Lists the places of a sample whose class counts: a mask leaves out those where it is not above 0. Of labels that are shares of classes it is the one with the largest share.
 * @param shape - that of the prediction, [rows, …]
 */
export function classRows(
  objective: Objective,
  shape: Shape,
): (scores: ArrayLike<number>, labels: ArrayLike<number>, mask?: ArrayLike<number>) => ClassRow[] {
  const axis = objective.classAxis?.(shape) ?? 1;
  const classes = dimAt(shape, axis);
  const inner = elementCount(shape.slice(axis + 1));
  const shares = objective.labels.type === "float";
  /** The numbers of one place, one for each class. */
  const numbersOf = (values: ArrayLike<number>, place: number) => {
    const from = Math.floor(place / inner) * classes * inner + (place % inner);
    return Array.from({ length: classes }, (_, c) => values[from + c * inner] ?? Number.NaN);
  };
  return (scores, labels, mask) => {
    const places = shares ? labels.length / classes : labels.length;
    return Array.from({ length: places }, (_, place) => {
      const label = shares ? greatest(numbersOf(labels, place)) : (labels[place] ?? -1);
      const isMasked = mask !== undefined && !((mask[place] ?? 0) > 0);
      const counts = !isMasked && label !== objective.options.ignoreIndex && label >= 0 && label < classes;
      return counts ? [{ scores: numbersOf(scores, place), label }] : [];
    }).flat();
  };
}

const greatest = (shares: readonly number[]): number => shares.indexOf(Math.max(...shares));
