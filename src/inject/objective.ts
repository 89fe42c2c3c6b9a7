import { blockPrefix } from "../analysis/block-nodes.ts";
import { SorthError, UsageError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import { computable, type Objective } from "../losses/objective.ts";
import { choosePrediction } from "../losses/prediction.ts";

/** An added loss. */
export interface AddedLoss {
  /** Scalar, mean over the batch, in the prediction's type (float32 for half types). */
  readonly value: Typed;
  /** The added input. Its declared dimensions are those of the prediction; free ones stay free. */
  readonly labels: Typed;
  readonly prediction: Typed;
  /** A remark for the user. */
  readonly remark: string | undefined;
}

/**
 * Adds a loss in standard operators of the model's own opset that ONNX Runtime's training tools can differentiate. If the
 * model ends in the Softmax or Sigmoid that the loss applies itself, the loss reads the value in front of it.
 *
 * @param output - the value to compare with labels, an output or an inner value; default: the first float output
 * @throws UsageError if the model has no such value, or the loss has no form for files; SorthError if the value does not fit
 * the loss.
 */
export function emitObjective(g: Emit, objective: Objective, output: string | undefined): AddedLoss {
  const { name, injected } = objective;
  if (!injected) {
    throw new UsageError(
      `the objective "${name}" has no form for injected files (its field "injected"): train and grad take it`,
    );
  }
  const { value, remark } = choosePrediction(g.graph, objective, output);
  if (!value.type) throw new SorthError(`"${value.name}" is of an unknown type; a loss needs floats`);
  const prediction = typed(value);
  const scores = computable(g, prediction);
  const { shape, declared = shape.map(() => undefined) } = prediction;
  const axes = injected.axes(shape);
  const labels = g.graph.addInput(
    g.graph.value("labels") ? g.graph.freshName(`${blockPrefix}labels`) : "labels",
    injected.labels === "prediction" ? scores.type : injected.labels,
    axes.map((axis) => shape[axis] ?? 1),
    axes.map((axis) => declared[axis]),
  );
  return { prediction, labels: typed(labels), remark, value: injected.build(g, scores, typed(labels)) };
}
