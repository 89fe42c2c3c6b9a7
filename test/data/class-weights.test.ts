import { expect, test } from "vitest";
import { arrayDataset } from "../../src/data/array-dataset.ts";
import { classRemarks } from "../../src/data/class-remarks.ts";
import { balancedClassWeights } from "../../src/data/class-weights.ts";
import { generatorDataset } from "../../src/data/generator-dataset.ts";

const data = (labels: readonly number[]) =>
  arrayDataset(new Float32Array(labels.length), Int32Array.from(labels), []);

test("rare classes weigh more, as scikit-learn's balanced weights", () => {
  // compute_class_weight("balanced", classes=[0, 1, 2], y=[0, 0, 0, 0, 1, 2]) = [0.5, 2, 2]
  expect(balancedClassWeights(data([0, 0, 0, 0, 1, 2]))).toEqual([0.5, 2, 2]);
  // Class 1 does not occur, class 3 is one of the model's only; −100 is no class.
  expect(balancedClassWeights(data([0, 0, 2, -100]), 4)).toEqual([0.75, 0, 1.5, 0]);
  const rows = [0, 0, 1, 2].flatMap((label) => [0, 1, 2].map((one) => Number(one === label)));
  for (const oneHot of [Int32Array.from(rows), Float32Array.from(rows)]) {
    const labelled = arrayDataset(new Float32Array(4), oneHot, []);
    expect(balancedClassWeights(labelled, 3)).toEqual([4 / 6, 4 / 3, 4 / 3]);
    expect(classRemarks(labelled, undefined, 3)).toEqual([]);
  }
  // As many places as classes: indices, not one-hot.
  const tokens = arrayDataset(new Float32Array(2), Int32Array.of(0, 2, 2, 1, 2, 2), [], { targetShape: [3] });
  expect(balancedClassWeights(tokens, 3)).toEqual([2, 2, 0.5]);
  // Pictures of 1 × 2 pixels with the classes on the first axis: pixels of the classes 0, 1 and 2, 2.
  const places = Int32Array.of(1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1);
  expect(
    balancedClassWeights(arrayDataset(new Float32Array(2), places, [], { targetShape: [3, 1, 2] }), 3),
  ).toEqual([4 / 3, 4 / 3, 4 / 6]);
});

test("labels that are no classes are refused, and those that come while a run trains", async () => {
  const floats = arrayDataset(new Float32Array(2), Float32Array.of(0.5, 1.5), []);
  expect(() => balancedClassWeights(floats)).toThrow("need labels that are classes");
  expect(() => balancedClassWeights(data([-100, -100]), 3)).toThrow("classes of the model");
  const generated = await generatorDataset(() => [{ x: [0.5], y: 1 }], { size: 1, classes: 2 });
  expect(() => balancedClassWeights(generated)).toThrow("give the weights as numbers");
});
