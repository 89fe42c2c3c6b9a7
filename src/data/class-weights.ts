import { DataError } from "../errors.ts";
import { elementCount } from "../onnx/tensor.ts";
import { checkDataset } from "./check-dataset.ts";
import { type Dataset, eachRows } from "./dataset.ts";
import { oneHotClass } from "./feed-array.ts";

/**
 * A weight for each class by how rare it is: samples / (classes that occur · samples of the class), scikit-learn's "balanced".
 * Labels that are no class are left out, and classes without samples have the weight 0.
 *
 * @param classes - number of classes of the model; default: those of the data, of which one-hot labels need to be told
 * @throws DataError when the labels are neither class indices nor one-hot, or come while a run trains
 *
 * @example
 * const objective = crossEntropy({ classWeights: balancedClassWeights(train) });
 */
export function balancedClassWeights(dataset: Dataset, classes = dataset?.y?.classes ?? 0): number[] {
  checkDataset(dataset);
  const counts = countClasses(dataset, classes);
  const counted = counts?.reduce((a, b) => a + b, 0);
  if (!counts || !counted) {
    throw new DataError(
      `${dataset.name}: balanced class weights need labels that are classes of the model, known before training (no generator's); give the weights as numbers`,
    );
  }
  const present = counts.filter((count) => count > 0).length;
  return counts.map((count) => (count === 0 ? 0 : counted / (present * count)));
}

/**
 * How often each class occurs in the labels: class indices, of which others than 0 … classes − 1 do not count, or one-hot rows
 * along the last or the first axis of a sample.
 * @param onlyOneHot - whether class indices count as no classes
 * @returns zeros for labels that come while a run trains, undefined for labels that are no classes
 */
export function countClasses(
  { labels, size, y: { shape, type } }: Dataset,
  classes: number,
  onlyOneHot = false,
): number[] | undefined {
  if (!labels) return undefined;
  const count = (labelsOf: (values: Float64Array) => Float64Array) => {
    const counts = new Array<number>(classes).fill(0);
    let read = 0;
    eachRows(labels, size, (values) => {
      read += values.length;
      for (const label of labelsOf(values)) if (label in counts) (counts[label] as number)++;
    });
    return read === size * elementCount(shape) ? counts : counts.fill(0);
  };
  const axis = [shape.length - 1, 0].find((one) => shape[one] === classes);
  if (axis !== undefined && labels.range().whole) {
    const inner = elementCount(shape.slice(axis + 1));
    let isOneHot = true;
    const counts = count((values) =>
      values.subarray(0, values.length / classes).map((_, place) => {
        const label = oneHotClass(values, place, classes, inner);
        isOneHot &&= label >= 0;
        return label;
      }),
    );
    if (isOneHot) return counts;
  }
  return onlyOneHot || type !== "integer" ? undefined : count((values) => values);
}
