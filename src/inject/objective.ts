import { SorthError, UsageError } from "../errors.ts";
import { int } from "../graph/attribute.ts";
import type { Emit } from "../graph/emit.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { DeclaredDim } from "../graph/node.ts";
import { type Shape, shapeText } from "../graph/shapes.ts";
import { choosePrediction } from "../losses/prediction.ts";
import { type DataTypeName, isFloat } from "../onnx/data-types.ts";

/** Losses that inject can add, by their name on the command line. */
export const objectiveNames = ["cross-entropy", "mse", "l1", "bce"] as const;
/** Name of a loss that inject can add. */
export type ObjectiveName = (typeof objectiveNames)[number];

/** An emitted loss. */
export interface ObjectiveGraph {
  /** Scalar, mean over the batch, in the prediction's type (float32 for half types). */
  readonly value: Typed;
  /** The added input; its declared dimensions are those of the prediction, free ones stay free. */
  readonly labels: Typed;
  readonly prediction: Typed;
  /** A remark for the user. */
  readonly remark: string | undefined;
}

/**
 * Adds a loss in standard operators of the model's own opset, such as official training tools differentiate:
 *
 * - `cross-entropy` of class scores [batch, classes, …] and int64 labels [batch, …]
 * - `mse`, `l1`: mean of (p − y)² and of |p − y|, labels as the prediction
 * - `bce`: binary cross-entropy of logits, labels (0 to 1) as the prediction
 *
 * Where the model ends in the Softmax or Sigmoid that the loss applies itself, the loss reads what comes before it.
 *
 * @param output - the value to compare with labels, an output or an inner value; default: the first output of floats
 * @throws UsageError when the model has no such value; SorthError when it does not fit the loss.
 */
export function emitObjective(g: Emit, name: ObjectiveName, output: string | undefined): ObjectiveGraph {
  if (!objectiveNames.includes(name)) {
    throw new UsageError(`there is no objective "${name}"; there is ${objectiveNames.join(", ")}`);
  }
  const { value, remark } = choosePrediction(g.graph, { name }, output);
  if (!isFloat(value.type)) {
    throw new SorthError(`"${value.name}" is ${value.type ?? "of an unknown type"}; a loss needs floats`);
  }
  const prediction = typed(value);
  const declared = prediction.declared ?? prediction.shape.map(() => undefined);
  const scores = prediction.type === "double" ? prediction : g.cast(prediction, "float");
  if (name === "cross-entropy") {
    if (prediction.shape.length < 2) {
      throw new SorthError(
        `cross-entropy needs class scores of shape [batch, classes], "${prediction.name}" has ${shapeText(prediction.shape)}`,
      );
    }
    const labels = addLabels(g, "int64", dropClasses(prediction.shape), dropClasses(declared));
    return { prediction, labels, remark, value: crossEntropy(g, scores, labels) };
  }
  const labels = addLabels(g, scores.type, prediction.shape, declared);
  return { prediction, labels, remark, value: elementwise[name](g, scores, labels) };
}

const elementwise: Record<Exclude<ObjectiveName, "cross-entropy">, (g: Emit, p: Typed, y: Typed) => Typed> = {
  mse: (g, p, y) => g.reduceMean(g.square(g.sub(p, y))),
  l1: (g, p, y) => g.reduceMean(g.abs(g.sub(p, y))),
  // −y·log σ(p) − (1−y)·log(1−σ(p)) = max(p, 0) − p·y + log(1 + e^−|p|)
  bce: (g, p, y) => {
    const tail = g.log(g.add(g.exp(g.neg(g.abs(p))), 1));
    return g.reduceMean(g.add(g.sub(g.op("Relu", [p], p.shape), g.mul(p, y)), tail));
  },
};

/** scores: [batch, classes, …]; labels: [batch, …]. */
function crossEntropy(g: Emit, scores: Typed, labels: Typed): Typed {
  if (g.opset >= 12) {
    // Official training wants log_prob declared: its gradient reads it.
    const outputs = [
      { type: scores.type, shape: [] },
      { type: scores.type, shape: scores.shape },
    ];
    return g.multi("SoftmaxCrossEntropyLoss", [scores, labels], outputs)[0] as Typed;
  }
  if (scores.shape.length !== 2) {
    throw new SorthError(
      `cross-entropy of scores of shape ${shapeText(scores.shape)} needs opset 12, the model has ${g.opset}`,
    );
  }
  // Opset 11 has no loss operators: the label's log-probability is gathered.
  const logProbability = g.op("LogSoftmax", [scores], scores.shape, { attributes: { axis: int(1) } });
  const rows = scores.shape[0] ?? 1;
  const index = g.op("Unsqueeze", [labels], [rows, 1], {
    attributes: { axes: { kind: "ints", value: [1] } },
  });
  const gathered = g.op("GatherElements", [logProbability, index], [rows, 1], {
    attributes: { axis: int(1) },
  });
  return g.neg(g.reduceMean(gathered));
}

function addLabels(
  { graph }: Emit,
  type: DataTypeName,
  shape: Shape,
  declared: readonly DeclaredDim[],
): Typed {
  const name = graph.value("labels") ? graph.freshName("sorth/labels") : "labels";
  return typed(graph.addInput(name, type, shape, declared));
}

/** [batch, classes, …] without its classes. */
const dropClasses = <T>(dims: readonly T[]): T[] => dims.filter((_, axis) => axis !== 1);
