import { dimAt, type Shape } from "../graph/shapes.ts";
import { elementCount } from "../onnx/tensor.ts";
import { classAxisOf, placeOf } from "./class-scores.ts";
import type { CrossEntropySettings } from "./cross-entropy-graph.ts";
import type { Evaluation } from "./objective.ts";

/** The cross-entropy of the first rows in float64; with a mask, of the places where it is above 0. */
export function crossEntropyOf(
  predictions: ArrayLike<number>,
  labels: ArrayLike<number>,
  rows: number,
  shape: Shape,
  settings: CrossEntropySettings,
  mask?: ArrayLike<number>,
): Evaluation {
  const { labelSmoothing: smoothing, ignoreIndex, weights, focus } = settings;
  const shares = settings.labels === "probabilities";
  const axis = classAxisOf(shape, settings);
  const classes = dimAt(shape, axis);
  const inner = elementCount(shape.slice(axis + 1));
  const positions = elementCount(shape.slice(1)) / classes;
  const weightOf = (c: number): number => weights?.[c] ?? 1;
  let [loss, correct, counted, weight] = [0, 0, 0, 0];
  for (let place = 0; place < rows * positions; place++) {
    const at = (c: number): number => placeOf(place, c, classes, inner);
    const logit = (c: number): number => predictions[at(c)] ?? Number.NaN;
    const label = shares ? best(classes, (c) => labels[at(c)] ?? 0) : (labels[place] ?? -1);
    if ((!shares && label === ignoreIndex) || (mask && !((mask[place] ?? 0) > 0))) continue;
    const found = best(classes, logit);
    const highest = logit(found);
    let [partition, aim, whole] = [0, 0, 0];
    for (let c = 0; c < classes; c++) {
      const shifted = logit(c) - highest;
      const given = shares ? (labels[at(c)] ?? 0) : c === label ? 1 : 0;
      const target = weightOf(c) * ((1 - smoothing) * given + smoothing / classes);
      partition += Math.exp(shifted);
      aim += target * shifted;
      whole += target;
    }
    const plain = whole * Math.log(partition) - aim;
    const missed = focus === 0 ? 1 : 1 - Math.exp(logit(label) - highest) / partition;
    loss += (missed ** focus * plain) / positions;
    counted += 1 / positions;
    weight += (shares ? 1 : weightOf(label)) / positions;
    if (found === label) correct += 1 / positions;
  }
  return { loss, correct, counted, ...(weights && { weight }) };
}

/** The class with the highest number; the first one if there are several, −1 if one is NaN: a model that diverged is not right. */
function best(classes: number, numberOf: (c: number) => number): number {
  let found = 0;
  for (let c = 0; c < classes; c++) {
    if (Number.isNaN(numberOf(c))) return -1;
    if (numberOf(c) > numberOf(found)) found = c;
  }
  return found;
}
