import { SorthError } from "../errors.ts";
import { dimAt, type Shape, shapeText } from "../graph/shapes.ts";
import { elementCount } from "../onnx/tensor.ts";

/** The facts about scores of classes that an axis and labels depend on. */
export interface ClassScores {
  /** The class axis: 1, or −1 for the last one. */
  readonly classAxis: 1 | -1;
  /** Number of labels per sample, 0 if unknown. */
  readonly labelPlaces: number;
  /** Whether a label is a class, or a number for each class. */
  readonly labels: "classes" | "probabilities";
}

/** The class axis of a prediction. */
export function classAxisOf(
  prediction: Shape,
  { classAxis, labelPlaces }: Pick<ClassScores, "classAxis" | "labelPlaces">,
): number {
  const last = prediction.length - 1;
  if (classAxis === -1) return last;
  const places = (axis: number) => elementCount(prediction.slice(1)) / (prediction[axis] ?? 1);
  const hinted = labelPlaces > 0 && places(1) !== labelPlaces && places(last) === labelPlaces;
  return hinted ? last : 1;
}

/** The shape of labels. @throws SorthError for a prediction that has no two classes */
export function labelShape(prediction: Shape, scores: ClassScores): Shape {
  const axis = classAxisOf(prediction, scores);
  if (prediction.length < 2 || dimAt(prediction, axis) < 2) {
    throw new SorthError(
      `the cross-entropy needs logits of shape [rows, classes, …] with two classes or more; the prediction has shape ${shapeText(prediction)}: one score a sample is for the objectives bce and mse`,
    );
  }
  return scores.labels === "probabilities" ? prediction : prediction.filter((_, at) => at !== axis);
}

/** The index of a class's number for the n-th place of an array that has `inner` elements after its class axis. */
export const placeOf = (place: number, c: number, classes: number, inner: number): number =>
  Math.floor(place / inner) * inner * classes + c * inner + (place % inner);
