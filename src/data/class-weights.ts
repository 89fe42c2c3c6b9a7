import { DataError } from "../errors.ts";
import { type Dataset, eachRows } from "./dataset.ts";

/**
 * A weight for each class by how rare it is: samples / (classes that occur · samples of the class), scikit-learn's "balanced".
 * Labels that are no class are left out, and classes without samples have the weight 0.
 *
 * @param classes - number of classes of the model; default: those of the data
 * @throws DataError when the labels are no class indices, or come while a run trains
 *
 * @example
 * const objective = crossEntropy({ classWeights: balancedClassWeights(train) });
 */
export function balancedClassWeights(dataset: Dataset, classes = dataset.y.classes ?? 0): number[] {
  const { name, labels, size, y } = dataset;
  if (!labels || y.type !== "integer") {
    throw new DataError(`${name}: balanced class weights need labels that are class indices`);
  }
  const counts = new Array<number>(classes).fill(0);
  eachRows(labels, size, (values) => {
    for (const label of values) {
      const count = counts[label];
      if (count !== undefined) counts[label] = count + 1;
    }
  });
  const counted = counts.reduce((a, b) => a + b, 0);
  if (counted === 0) {
    throw new DataError(
      `${name}: balanced class weights need labels that can be counted before training: here none is a class from 0 to ${classes - 1}, or they come while a run trains (a generator); give the weights as numbers`,
    );
  }
  const present = counts.filter((count) => count > 0).length;
  return counts.map((count) => (count === 0 ? 0 : counted / (present * count)));
}
