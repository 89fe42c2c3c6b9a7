import { typedOrHidden } from "../analysis/obstacle.ts";
import type { Seed } from "../autodiff/walk.ts";
import { SorthError, UsageError } from "../errors.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import { shapeText } from "../graph/shapes.ts";
import type { LabelMaker } from "../losses/objective.ts";
import { type OwnObjective, ownObjective } from "../losses/own-objective.ts";
import { choosePrediction, remarkOnOwnScores } from "../losses/prediction.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { LossOptions } from "./options.ts";
import { emitPenalties, type PenaltyInputs, type PenaltyTerm } from "./penalty-graph.ts";
import { inputName } from "./ports.ts";
import type { PreparedGraph } from "./prepared-graph.ts";

/** A loss in a graph: its data part, its penalty, and where their gradients enter. */
export interface LossGraph extends Pick<PenaltyTerm, "parts" | "penalized"> {
  /** The loss of the data alone, a scalar. */
  readonly dataLoss: Typed;
  /** R, the sum of all penalties with their relative weights but without the penalty weight; undefined without penalties. */
  readonly penalty: Typed | undefined;
  /** dataLoss + weight · R. */
  readonly total: Typed;
  readonly seeds: readonly Seed[];
  /** The value that the objective reads; undefined for a model whose own loss is not recognized. */
  readonly prediction: Typed | undefined;
  /** The objective in a model's own loss, if it is recognized. */
  readonly own: OwnObjective | undefined;
  /** The input for labels, if the objective added one. */
  readonly labels: Value | undefined;
  /** How the objective makes labels of tokens where the data hold none. */
  readonly ownLabels?: LabelMaker | undefined;
}

/** Adds the loss of a prepared graph: the objective's or the model's own, and the penalties. */
export function emitLoss(
  prepared: PreparedGraph,
  options: LossOptions,
  inputs: PenaltyInputs = {},
): LossGraph {
  const { emit } = prepared;
  const { seeds, ...data } = options.objective
    ? objectiveLoss(prepared, options)
    : ownLoss(prepared, options);
  const { dataLoss, prediction } = data;
  const type = dataLoss.type === "double" ? "double" : "float";
  const added = emitPenalties(prepared, options, type, inputs, prediction);
  if (!added) return { ...data, seeds, total: dataLoss, penalty: undefined, parts: [], penalized: [] };
  const { weighted, seeds: more, ...rest } = added;
  return {
    ...data,
    ...rest,
    total: emit.add(emit.cast(dataLoss, type), weighted),
    seeds: [...seeds, ...more],
  };
}

type DataLoss = Pick<LossGraph, "dataLoss" | "prediction" | "labels" | "ownLabels" | "own"> & {
  seeds: Seed[];
};

function objectiveLoss({ graph, emit, taken }: PreparedGraph, options: LossOptions): DataLoss {
  const { objective } = options;
  if (!objective) throw new UsageError("no objective was given");
  if (options.loss)
    throw new UsageError("give either an objective or the name of the model's own loss, not both");
  const { value, remark } = choosePrediction(graph, objective, options.output);
  if (remark) options.onMessage?.(remark);
  const prediction = typedOrHidden(value);
  const { type, shape, own } = objective.labels;
  const labelType = type === "float" ? prediction.type : type;
  const name = inputName(graph, "labels", taken);
  const labels = graph.addInput(name, labelType, shape(prediction.shape));
  const built = objective.build(emit, prediction, typed(labels));
  return {
    dataLoss: built.value,
    prediction,
    labels,
    ownLabels: own?.(prediction.shape),
    own: undefined,
    seeds: [{ value: prediction, gradient: built.gradient }],
  };
}

function ownLoss({ graph, emit }: PreparedGraph, options: LossOptions): DataLoss {
  if (!options.loss) {
    throw new UsageError(
      "say what to minimize: an objective (--objective), or the model's own loss (--loss NAME)",
    );
  }
  if (options.output !== undefined) {
    throw new UsageError(
      `"${options.output}" was given as the prediction (--prediction), which an objective reads: a model that holds its loss ("${options.loss}") has its own`,
    );
  }
  const value = graph.value(options.loss);
  if (!value) {
    const names = graph.outputs.map(({ name }) => name).join(", ");
    throw new UsageError(`the model has no value "${options.loss}"; its outputs are ${names}`);
  }
  const loss = typedOrHidden(value);
  if (elementCount(loss.shape) !== 1) {
    throw new SorthError(
      `the loss "${loss.name}" has the shape ${shapeText(loss.shape)}; a loss is one number`,
    );
  }
  const own = ownObjective(loss);
  const remark = own && remarkOnOwnScores(own.prediction);
  if (remark) options.onMessage?.(remark);
  return {
    dataLoss: emit.reshape(loss, []),
    prediction: own?.prediction,
    labels: undefined,
    own,
    seeds: [{ value: loss, gradient: () => emit.filled(1, loss.shape, loss.type) }],
  };
}
