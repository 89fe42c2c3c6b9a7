import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { checkNumber, type NumberRange, positive, share } from "../numbers.ts";
import { type ElementwiseLoss, elementwise } from "./elementwise.ts";
import { type Objective, withDefaults } from "./objective.ts";

/** The facts that losses of logits with labels from 0 to 1 share: each number is a class of its own, so a row may have several. */
const binary = {
  activations: ["Sigmoid"],
  labels: { allowed: (label) => label >= 0 && label <= 1, words: "a number from 0 to 1" },
  correct: (x, target) => x > 0 === target > 0.5,
} satisfies Partial<ElementwiseLoss>;

/** Options of {@link binaryCrossEntropy}. */
export interface BinaryCrossEntropyOptions {
  /** Factor of the loss of labels 1, to weigh rare positives up; torch's `pos_weight`. Default 1. */
  readonly positiveWeight?: number;
}

/**
 * Mean binary cross-entropy of logits. Labels from 0 to 1 have the prediction's shape (torch's `BCEWithLogitsLoss`):
 * max(x, 0) − x·y + log(1 + exp(−|x|)).
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(model, { objective: binaryCrossEntropy({ positiveWeight: 10 }) });
 */
export function binaryCrossEntropy(options: BinaryCrossEntropyOptions = {}): Objective {
  const settings = withDefaults("bce", { positiveWeight: 1 }, options);
  const { positiveWeight: weight } = settings;
  checkNumber("positiveWeight of the objective bce", weight, positive);
  return elementwise({
    ...{ name: "bce", options: settings, ...binary },
    loss: (g, x, target) => logistic(g, x, target, (value) => g.max(value, 0), weight),
    injected: (g, x, target) => logistic(g, x, target, (value) => g.relu(value), weight),
    slope: (g, x, target, scale) => {
      if (weight === 1) return g.mul(g.sub(g.sigmoid(x), target), scale);
      const ofLabel = g.add(g.mul(target, weight - 1), 1);
      return g.mul(g.sub(g.mul(g.sigmoid(x), ofLabel), g.mul(target, weight)), scale);
    },
    evaluate: (x, target) => logisticOf(x, target, weight),
  });
}

/** Options of {@link binaryFocal}. */
export interface BinaryFocalOptions {
  /** γ: how strongly well-classified examples are weighted down; 0 or at least 1. Default 2. */
  readonly gamma?: number;
  /** α: weight of labels 1, while labels 0 weigh 1 − α; "none" for equal weights of 1. Default 0.25. */
  readonly alpha?: number | "none";
}

/** 0, or a power whose slope is finite. */
export const focus: NumberRange = {
  words: "0 or a number of at least 1",
  holds: (value) => value === 0 || (value >= 1 && Number.isFinite(value)),
};

/**
 * Mean focal loss of logits (arXiv 1708.02002), as torchvision's `sigmoid_focal_loss`: α·(1 − p)^γ times the binary
 * cross-entropy, p the probability of the label. Labels from 0 to 1 have the prediction's shape.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(detector, { objective: binaryFocal({ gamma: 2, alpha: 0.25 }) });
 */
export function binaryFocal(options: BinaryFocalOptions = {}): Objective {
  const settings = withDefaults<BinaryFocalOptions>("binary-focal", { gamma: 2, alpha: 0.25 }, options);
  const { gamma, alpha } = settings;
  checkNumber("gamma of the objective binary-focal", gamma, focus);
  if (alpha !== "none") checkNumber("alpha of the objective binary-focal", alpha, share);
  const [one, zero] = alpha === "none" ? [1, 1] : [alpha, 1 - alpha];
  /** The weight of a label. */
  const balanced = (g: Emit, target: Typed) => g.add(g.mul(target, one - zero), zero);
  /** p + y − 2py: 1 minus the probability of the label. */
  const missed = (g: Emit, x: Typed, target: Typed) =>
    g.once(`missed ${x.name} ${target.name}`, () => {
      const p = g.sigmoid(x);
      return g.add(g.mul(p, g.sub(1, g.mul(target, 2))), target);
    });
  const loss = (positivePart: (g: Emit, x: Typed) => Typed) => (g: Emit, x: Typed, target: Typed) => {
    const plain = logistic(g, x, target, (value) => positivePart(g, value), 1);
    return timesPower(g, g.mul(balanced(g, target), plain), missed(g, x, target), gamma);
  };
  return elementwise({
    ...{ name: "binary-focal", options: settings, ...binary },
    loss: loss((g, x) => g.max(x, 0)),
    injected: loss((g, x) => g.relu(x)),
    // α·((p − y)·q^γ + γ·q^(γ−1)·(1 − 2y)·p(1 − p)·bce), with q = 1 − the probability of the label
    slope: (g, x, target, scale) => {
      const p = g.sigmoid(x);
      const q = missed(g, x, target);
      const plain = logistic(g, x, target, (value) => g.max(value, 0), 1);
      const first = timesPower(g, g.sub(p, target), q, gamma);
      const turn = g.mul(g.mul(g.sub(1, g.mul(target, 2)), g.mul(p, g.sub(1, p))), plain);
      const whole = gamma === 0 ? first : g.add(first, g.mul(timesPower(g, turn, q, gamma - 1), gamma));
      return g.mul(g.mul(whole, balanced(g, target)), scale);
    },
    evaluate: (x, target) => {
      const p = 1 / (1 + Math.exp(-x));
      const q = p + target - 2 * p * target;
      return (target * (one - zero) + zero) * q ** gamma * logisticOf(x, target, 1);
    },
  });
}

/** x·baseᵉ for a base from 0 up: no node where e is 0, and no Pow where it is 1 or 2. */
export function timesPower(g: Emit, x: Typed, base: Typed, exponent: number): Typed {
  if (exponent === 0) return x;
  if (exponent === 1) return g.mul(x, base);
  return g.mul(x, exponent === 2 ? g.square(base) : g.pow(base, exponent));
}

/** max(x, 0) − x·y + log(1 + e^−|x|), with a factor of the part of y. */
function logistic(
  g: Emit,
  x: Typed,
  target: Typed,
  positivePart: (x: Typed) => Typed,
  weight: number,
): Typed {
  const tail = g.log(g.add(g.exp(g.neg(g.abs(x))), 1));
  if (weight === 1) return g.add(g.sub(positivePart(x), g.mul(x, target)), tail);
  const ofLabel = g.add(g.mul(target, weight - 1), 1);
  return g.sub(g.mul(g.add(positivePart(x), tail), ofLabel), g.mul(g.mul(target, weight), x));
}

/** The same for one number. */
const logisticOf = (x: number, target: number, weight: number): number =>
  (1 + (weight - 1) * target) * (Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))) - weight * target * x;
