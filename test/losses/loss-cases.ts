import { binaryCrossEntropy, binaryFocal } from "../../src/losses/binary.ts";
import { causalLm } from "../../src/losses/causal-lm.ts";
import { cosine } from "../../src/losses/cosine.ts";
import { crossEntropy } from "../../src/losses/cross-entropy.ts";
import { distillation } from "../../src/losses/distillation.ts";
import { huber, l1, meanSquaredError, smoothL1 } from "../../src/losses/elementwise.ts";
import { klDivergence } from "../../src/losses/kl-divergence.ts";
import { maskedLm } from "../../src/losses/masked-lm.ts";
import type { Objective } from "../../src/losses/objective.ts";
import { randomFloats, randomInts } from "../helpers/numbers.ts";

/** Number of elements of a shape. */
export const size = (shape: readonly number[]): number => shape.reduce((product, dim) => product * dim, 1);

/** A loss with the shape of a prediction, and labels for it. */
interface Case {
  readonly objective: Objective;
  readonly shape: readonly number[];
  readonly labels: readonly number[];
}

const classes = (shape: readonly number[]): number[] =>
  randomInts(`classes ${shape.join("x")}`, size(shape) / (shape[1] ?? 1), 0, shape[1] ?? 1);
const targets = (shape: readonly number[]): number[] =>
  Array.from(randomFloats(`targets ${shape.join("x")}`, size(shape), 0, 1));

/** Shares of classes on an axis, which sum to 1. */
function shares(shape: readonly number[], axis: number): number[] {
  const all = targets(shape);
  const [count, inner] = [shape[axis] ?? 1, size(shape.slice(axis + 1))];
  return all.map((share, at) => {
    const first = Math.floor(at / (count * inner)) * count * inner + (at % inner);
    const sum = Array.from({ length: count }, (_, c) => all[first + c * inner] ?? 0).reduce(
      (a, b) => a + b,
      0,
    );
    return Math.fround(share / sum);
  });
}

/** Every third label is one that does not count. */
const marked = (labels: readonly number[], label: number) => labels.map((y, i) => (i % 3 === 0 ? label : y));

/** Every loss, with its options and layouts, by a name for tests. */
export const cases: Record<string, Case> = {
  "cross-entropy, 255 ignored": {
    objective: crossEntropy({ ignoreIndex: 255 }),
    ...{ shape: [5, 4], labels: marked(classes([5, 4]), 255) },
  },
  "cross-entropy [N, C, H, W], −100 ignored, smoothed": {
    objective: crossEntropy({ ignoreIndex: -100, labelSmoothing: 0.2 }),
    ...{ shape: [2, 3, 2, 3], labels: marked(classes([2, 3, 2, 3]), -100) },
  },
  "cross-entropy, a class ignored": {
    objective: crossEntropy({ ignoreIndex: 0 }),
    ...{ shape: [6, 3], labels: [0, 1, 2, 0, 1, 2] },
  },
  "cross-entropy [N, T, C], classes last": {
    objective: crossEntropy({ classAxis: -1 }),
    ...{ shape: [3, 2, 4], labels: randomInts("tokens", 6, 0, 4) },
  },
  "cross-entropy [N, T, C], classes found by the labels, −100 ignored": {
    objective: crossEntropy({ labelPlaces: 5, ignoreIndex: -100 }),
    ...{ shape: [3, 5, 4], labels: marked(randomInts("more tokens", 15, 0, 4), -100) },
  },
  "cross-entropy of shares": {
    objective: crossEntropy({ labels: "probabilities" }),
    ...{ shape: [5, 4], labels: shares([5, 4], 1) },
  },
  "cross-entropy of shares [N, C, L], smoothed": {
    objective: crossEntropy({ labels: "probabilities", labelSmoothing: 0.1 }),
    ...{ shape: [3, 4, 2], labels: shares([3, 4, 2], 1) },
  },
  "cross-entropy of shares [N, T, C]": {
    objective: crossEntropy({ labels: "probabilities", classAxis: -1 }),
    ...{ shape: [3, 2, 4], labels: shares([3, 2, 4], 2) },
  },

  "cross-entropy [N, C]": { objective: crossEntropy(), shape: [5, 4], labels: classes([5, 4]) },
  "cross-entropy [N, C, L]": { objective: crossEntropy(), shape: [3, 4, 2], labels: classes([3, 4, 2]) },
  "cross-entropy [N, C, H, W]": {
    objective: crossEntropy(),
    shape: [2, 3, 2, 3],
    labels: classes([2, 3, 2, 3]),
  },
  "cross-entropy, smoothed": {
    objective: crossEntropy({ labelSmoothing: 0.1 }),
    shape: [5, 4],
    labels: classes([5, 4]),
  },
  "cross-entropy [N, C, H, W], smoothed": {
    objective: crossEntropy({ labelSmoothing: 0.3 }),
    shape: [2, 3, 2, 3],
    labels: classes([2, 3, 2, 3]),
  },
  "cross-entropy with weights, 255 ignored": {
    objective: crossEntropy({ classWeights: [1, 0, 0.5, 3], ignoreIndex: 255 }),
    ...{ shape: [8, 4], labels: marked(classes([8, 4]), 255) },
  },
  "cross-entropy [N, C, L] with weights, smoothed": {
    objective: crossEntropy({ classWeights: "1,2,0.5,3", labelSmoothing: 0.2 }),
    ...{ shape: [3, 4, 2], labels: classes([3, 4, 2]) },
  },
  "cross-entropy of shares [N, T, C] with weights": {
    objective: crossEntropy({ labels: "probabilities", classAxis: -1, classWeights: [1, 2, 0.5, 3] }),
    ...{ shape: [3, 2, 4], labels: shares([3, 2, 4], 2) },
  },
  "focal cross-entropy, −100 ignored": {
    objective: crossEntropy({ focus: 2, ignoreIndex: -100 }),
    ...{ shape: [5, 4], labels: marked(classes([5, 4]), -100) },
  },
  "focal cross-entropy [N, C, L] with weights": {
    objective: crossEntropy({ focus: 1, classWeights: [1, 2, 0.5, 3] }),
    ...{ shape: [3, 4, 2], labels: classes([3, 4, 2]) },
  },
  "bce with a weight": {
    objective: binaryCrossEntropy({ positiveWeight: 4 }),
    ...{ shape: [4, 3], labels: targets([4, 3]) },
  },
  "binary focal": { objective: binaryFocal(), shape: [4, 3], labels: targets([4, 3]) },
  "binary focal of γ 1.5": {
    objective: binaryFocal({ gamma: 1.5, alpha: "none" }),
    ...{ shape: [4, 3], labels: targets([4, 3]) },
  },
  huber: { objective: huber({ delta: 0.7 }), shape: [5, 3], labels: targets([5, 3]) },
  "smooth l1": { objective: smoothL1({ beta: 0.3 }), shape: [5, 3], labels: targets([5, 3]) },
  "cosine [N, T, k]": {
    objective: cosine({ axis: -1 }),
    ...{ shape: [2, 3, 4], labels: targets([2, 3, 4]) },
  },
  "cosine [N, k]": { objective: cosine(), shape: [5, 3], labels: targets([5, 3]) },
  "cosine [N, k, L]": { objective: cosine(), shape: [3, 4, 2], labels: targets([3, 4, 2]) },
  "kl [N, C]": { objective: klDivergence(), shape: [5, 4], labels: shares([5, 4], 1) },
  "kl [N, T, C]": {
    objective: klDivergence({ classAxis: -1 }),
    ...{ shape: [3, 2, 4], labels: shares([3, 2, 4], 2) },
  },
  "distillation [N, C]": {
    objective: distillation({ temperature: 3 }),
    ...{ shape: [5, 4], labels: targets([5, 4]) },
  },
  "distillation [N, T, C]": {
    objective: distillation({ classAxis: -1 }),
    ...{ shape: [3, 2, 4], labels: targets([3, 2, 4]) },
  },
  "causal-lm, −100 left out": {
    objective: causalLm(),
    ...{ shape: [3, 5, 4], labels: marked(randomInts("next tokens", 15, 0, 4), -100) },
  },
  "causal-lm, smoothed": {
    objective: causalLm({ labelSmoothing: 0.2 }),
    ...{ shape: [2, 4, 3], labels: randomInts("smoothed tokens", 8, 0, 3) },
  },
  "masked-lm": {
    objective: maskedLm(),
    ...{ shape: [3, 5, 4], labels: marked(randomInts("masked tokens", 15, 0, 4), -100) },
  },
  "mse [N, k]": { objective: meanSquaredError(), shape: [5, 3], labels: targets([5, 3]) },
  "mse [N]": { objective: meanSquaredError(), shape: [6], labels: targets([6]) },
  "mse [N, k, H, W]": { objective: meanSquaredError(), shape: [2, 3, 2, 2], labels: targets([2, 3, 2, 2]) },
  "l1 [N, k]": { objective: l1(), shape: [5, 3], labels: targets([5, 3]) },
  "bce [N, 1]": { objective: binaryCrossEntropy(), shape: [6, 1], labels: targets([6, 1]) },
  "bce [N, k]": { objective: binaryCrossEntropy(), shape: [4, 3], labels: targets([4, 3]) },
};
