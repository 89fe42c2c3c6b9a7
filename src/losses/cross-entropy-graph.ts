import { SorthError } from "../errors.ts";
import { int, ints, string } from "../graph/attribute.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { dimAt, shapeText } from "../graph/shapes.ts";
import { elementCount } from "../onnx/tensor.ts";
import { timesPower } from "./binary.ts";
import { type ClassScores, classAxisOf, labelShape } from "./class-scores.ts";
import { computable, type ObjectiveGraph } from "./objective.ts";

/** The options of a cross-entropy, checked. */
export interface CrossEntropySettings extends ClassScores {
  readonly labelSmoothing: number;
  readonly ignoreIndex: number | "none";
  /** A weight for each class; undefined for 1 each. */
  readonly weights: readonly number[] | undefined;
  /** γ of the focal loss. */
  readonly focus: number;
}

/**
 * The loss and its gradient in closed form, of operators that every backend runs.
 * @param places - beside probabilities as labels: above 0 where a place counts
 */
export function buildCrossEntropy(
  g: Emit,
  prediction: Typed,
  labels: Typed,
  settings: CrossEntropySettings,
  places?: Typed,
): ObjectiveGraph {
  const { shape, type } = prediction;
  const { labelSmoothing: smoothing, ignoreIndex, weights, focus } = settings;
  const shares = settings.labels === "probabilities";
  const axis = classAxisOf(shape, settings);
  labelShape(shape, settings);
  const classes = dimAt(shape, axis);
  const rows = elementCount(shape) / classes;
  // [N, C] and [N, 1], or [N, C, L] and [N, 1, L]. If the classes are last, all places become rows.
  const flat = shape.length === 2 || axis === shape.length - 1;
  const positions = flat ? 1 : elementCount(shape.slice(2));
  const n = rows / positions;
  const arranged = (value: Typed): Typed => {
    if (value.shape.length === (flat ? 2 : 3)) return value;
    return flat
      ? g.reshapeAs(value, [-1, classes], [n, classes])
      : g.reshapeAs(value, [0, classes, -1], [n, classes, positions]);
  };
  const ofClasses = flat ? [1, classes] : [1, classes, 1];
  const x = computable(g, arranged(prediction));
  const shifted = g.sub(x, g.reduceMax(x, [1], true));
  const exponentials = g.exp(shifted);
  const partition = g.reduceSum(exponentials, [1], true);
  const ofRows = (value: Typed) =>
    flat ? g.reshapeAs(value, [-1, 1], [n, 1]) : g.reshapeAs(value, [0, 1, -1], [n, 1, positions]);
  const given = shares ? undefined : ofRows(labels);
  const counts = places && g.greater(ofRows(places), 0);
  const kept = () => (counts ? g.where(counts, arranged(labels), 0) : arranged(labels));
  const hit = given
    ? g.indicator(g.equal(g.reshape(g.iota(classes), ofClasses), given), x.type)
    : g.cast(kept(), x.type);
  const smoothed = smoothing === 0 ? hit : g.add(g.mul(hit, 1 - smoothing), smoothing / classes);
  const weightOfClass = weights && g.numbers(checkedWeights(weights, classes), ofClasses, x.type);
  const target = weightOfClass ? g.mul(smoothed, weightOfClass) : smoothed;
  // Σ target·(log Σ exp(x) − x) does not change if x is shifted by its maximum.
  const whole = shares || weightOfClass ? g.reduceSum(target, [1], true) : undefined;
  const scaled = (value: Typed): Typed => (whole ? g.mul(value, whole) : value);
  const plain = g.sub(scaled(g.log(partition)), g.reduceSum(g.mul(shifted, target), [1], true));
  const focal = focus === 0 ? undefined : focalFactors(g, focus, { hit, exponentials, partition });
  const losses = focal ? focal.value(plain) : plain;
  const ignored = given && ignoreIndex !== "none" ? rowsThatCount(g, given, ignoreIndex, x.type) : undefined;
  const mask = counts ? g.indicator(counts, x.type) : ignored;
  const ofRow = given && weightOfClass && g.reduceSum(g.mul(hit, weightOfClass), [1], true);
  const share = mask || ofRow ? shareOf(g, mask, ofRow) : undefined;
  const counted = mask ? g.mul(losses, mask) : losses;
  return {
    value: share ? g.div(g.meanOfAll(counted), share) : g.meanOfAll(counted),
    // (softmax − target)/rows, where only rows that count are counted
    gradient: () => {
      const softmax = scaled(g.mul(exponentials, g.reciprocal(g.mul(partition, rows))));
      const all = g.sub(softmax, g.mul(target, 1 / rows));
      const focused = focal ? g.mul(all, focal.slope()) : all;
      const factor = mask && share ? g.div(mask, share) : share && g.reciprocal(share);
      const slope = factor ? g.mul(focused, factor) : focused;
      return g.reshape(g.cast(slope, type), shape);
    },
  };
}

/** The factors of the focal loss for each row: of the loss, (1 − p)^γ, and of its gradient, (1 − p)^γ − γ·(1 − p)^(γ−1)·p·log p. */
function focalFactors(
  g: Emit,
  gamma: number,
  { hit, exponentials, partition }: Readonly<Record<"hit" | "exponentials" | "partition", Typed>>,
): { value: (losses: Typed) => Typed; slope: () => Typed } {
  const p = g.div(g.reduceSum(g.mul(exponentials, hit), [1], true), partition);
  const missed = g.max(g.sub(1, p), 0);
  return {
    value: (losses) => timesPower(g, losses, missed, gamma),
    slope: () => {
      // The logarithm of a probability that rounds to 0 would be infinite, and its product with p NaN.
      const turn = g.mul(g.mul(p, g.log(g.max(p, 1e-37))), -gamma);
      return timesPower(g, g.add(missed, turn), missed, gamma - 1);
    },
  };
}

/** The loss in an injected file: SoftmaxCrossEntropyLoss for class labels, LogSoftmax for probabilities. */
export function injectedCrossEntropy(
  g: Emit,
  prediction: Typed,
  given: Typed,
  settings: CrossEntropySettings,
): Typed {
  const { labelSmoothing: smoothing, ignoreIndex, weights, focus } = settings;
  const shares = settings.labels === "probabilities";
  const axis = classAxisOf(prediction.shape, settings);
  labelShape(prediction.shape, settings);
  const classes = dimAt(prediction.shape, axis);
  // If the classes are the last of several axes, all places become rows: [rows, classes].
  const turned = axis > 1;
  const rows = elementCount(prediction.shape) / classes;
  const arranged = (value: Typed): Typed => g.reshapeAs(value, [-1, classes], [rows, classes]);
  const x = turned ? arranged(prediction) : prediction;
  const flat = turned && !shares ? g.reshapeAs(given, [-1], [rows]) : given;
  const labels = turned && shares ? arranged(given) : flat;
  const ofClasses = (type: Typed["type"]) => {
    const shape = [1, classes, ...x.shape.slice(2).map(() => 1)];
    return weights && g.numbers(checkedWeights(weights, classes), shape, type);
  };
  if (shares) {
    const target = smoothing === 0 ? labels : g.add(g.mul(labels, 1 - smoothing), smoothing / classes);
    const weight = ofClasses(x.type);
    const weighted = weight ? g.mul(target, weight) : target;
    return g.neg(g.reduceMean(g.reduceSum(g.mul(weighted, logProbabilities(g, x)), [1])));
  }
  if (focus !== 0) {
    const each = lossOfClasses(g, x, labels, { ...settings, weights: undefined }, { reduction: "none" });
    const missed = g.relu(g.sub(1, g.exp(g.neg(each))));
    const mask = ignoreIndex === "none" ? undefined : rowsThatCount(g, labels, ignoreIndex, x.type);
    const ofRow = classWeightOf(g, labels, weights, x.type);
    const weighted = ofRow ? g.mul(each, ofRow) : each;
    const mean = g.reduceMean(timesPower(g, weighted, missed, focus));
    return mask || ofRow ? g.div(mean, shareOf(g, mask, ofRow)) : mean;
  }
  const loss = lossOfClasses(g, x, labels, settings, { reduction: "mean" });
  if (smoothing === 0) return loss;
  // The mean over all classes instead of the label's class.
  const logs = logProbabilities(g, x);
  const weight = ofClasses(x.type);
  const uniform = g.reduceMean(weight ? g.mul(logs, weight) : logs, [1]);
  const mask = ignoreIndex === "none" ? undefined : rowsThatCount(g, labels, ignoreIndex, x.type);
  const ofRow = classWeightOf(g, labels, weights, x.type);
  const counted = mask ? g.reduceMean(g.mul(uniform, mask)) : g.reduceMean(uniform);
  const mean = mask || ofRow ? g.div(counted, shareOf(g, mask, ofRow)) : counted;
  return g.sub(g.mul(loss, 1 - smoothing), g.mul(mean, smoothing));
}

/** −w·log p[label], its mean or for each row; x: [rows, classes, …], labels: [rows, …]. */
function lossOfClasses(
  g: Emit,
  x: Typed,
  labels: Typed,
  { ignoreIndex, weights }: CrossEntropySettings,
  { reduction }: { readonly reduction: "mean" | "none" },
): Typed {
  const classes = dimAt(x.shape, 1);
  if (g.opset >= 12) {
    // ONNX Runtime's training API needs the output log_prob, because its gradient reads it.
    const outputs = [
      { type: x.type, shape: reduction === "mean" ? [] : labels.shape },
      { type: x.type, shape: x.shape },
    ];
    const attributes = {
      ...(ignoreIndex === "none" ? {} : { ignore_index: int(ignoreIndex) }),
      ...(reduction === "mean" ? {} : { reduction: string(reduction) }),
    };
    const weight = weights ? [g.numbers(checkedWeights(weights, classes), [classes], x.type)] : [];
    return g.multi("SoftmaxCrossEntropyLoss", [x, labels, ...weight], outputs, { attributes })[0] as Typed;
  }
  const plain = reduction === "mean" && !weights && ignoreIndex === "none";
  const what = ignoreIndex === "none" ? "class weights or a focus" : "an ignored label (ignoreIndex)";
  if (x.shape.length !== 2) throw needsOpset(g, 12, `scores of shape ${shapeText(x.shape)}`);
  if (!plain) throw needsOpset(g, 12, what);
  // Opset 11 has no loss operators, so the label's log-probability is gathered.
  if (g.opset < 11) throw needsOpset(g, 11, "class labels");
  const logs = logProbabilities(g, x);
  const n = dimAt(x.shape, 0);
  const index = g.op("Unsqueeze", [labels], [n, 1], { attributes: { axes: ints([1]) } });
  const gathered = g.op("GatherElements", [logs, index], [n, 1], { attributes: { axis: int(1) } });
  return g.neg(g.reduceMean(gathered));
}

/** log softmax of x: [rows, classes, …] over its classes. */
function logProbabilities(g: Emit, x: Typed): Typed {
  // Before opset 13, LogSoftmax normalizes over all axes from this one on together.
  if (x.shape.length > 2 && g.opset < 13) throw needsOpset(g, 13, `scores of shape ${shapeText(x.shape)}`);
  return g.op("LogSoftmax", [x], x.shape, { attributes: { axis: int(1) } });
}

const needsOpset = ({ opset }: Emit, least: number, what: string): SorthError =>
  new SorthError(
    `a cross-entropy of ${what} needs opset ${least} in an injected file, the model has ${opset}`,
  );

/** @throws SorthError where there is not one weight for each class */
function checkedWeights(weights: readonly number[], classes: number): readonly number[] {
  if (weights.length === classes) return weights;
  throw new SorthError(
    `classWeights has ${weights.length} numbers, but the prediction has ${classes} classes: give one for each class`,
  );
}

/** The weight of each row's class. The label that is ignored may be outside the classes. */
function classWeightOf(
  g: Emit,
  labels: Typed,
  weights: readonly number[] | undefined,
  type: Typed["type"],
): Typed | undefined {
  if (!weights) return undefined;
  const last = weights.length - 1;
  const inside = g.max(g.min(labels, g.scalar(last, labels.type)), g.scalar(0, labels.type));
  return g.gather(g.numbers(weights, [weights.length], type), inside);
}

/** 1 for the rows whose label counts, and 0 for others. */
const rowsThatCount = (g: Emit, labels: Typed, ignored: number, type: Typed["type"]): Typed =>
  g.sub(1, g.indicator(g.equal(labels, ignored), type));

/** The mean weight of rows, kept above 0 so that a batch without rows that count has the loss 0. */
function shareOf(g: Emit, mask: Typed | undefined, ofRow: Typed | undefined): Typed {
  const weights = mask && ofRow ? g.mul(mask, ofRow) : ((mask ?? ofRow) as Typed);
  return g.max(g.overShards(g.meanOfAll(weights), "mean"), 1e-30);
}
