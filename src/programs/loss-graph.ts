import { typedOrHidden } from "../analysis/obstacle.ts";
import type { Seed } from "../autodiff/walk.ts";
import { SorthError, UsageError } from "../errors.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import { shapeText } from "../graph/shapes.ts";
import type { LabelMaker } from "../losses/objective.ts";
import { type OwnObjective, ownObjective } from "../losses/own-objective.ts";
import { remarkOnOwnScores } from "../losses/prediction.ts";
import { elementCount } from "../onnx/tensor.ts";
import { emitTerms, type TermGraph } from "./loss-terms.ts";
import type { LossOptions } from "./options.ts";
import { emitPenalties, type PenaltyInputs, type PenaltyTerm } from "./penalty-graph.ts";
import type { PreparedGraph } from "./prepared-graph.ts";

/** A loss in a graph: its data part, its penalty, and where their gradients enter. */
export interface LossGraph extends Pick<PenaltyTerm, "parts" | "penalized"> {
  /** The loss of the data alone, a scalar. */
  readonly dataLoss: Typed;
  /** R, the sum of all penalties with their relative weights but without the penalty weight; undefined without penalties. */
  readonly penalty: Typed | undefined;
  /** dataLoss + weight · R. */
  readonly total: Typed;
  /** Where the gradients of `total` enter. */
  readonly seeds: readonly Seed[];
  /** Where those of `dataLoss` enter. */
  readonly dataSeeds: readonly Seed[];
  /** The penalties; undefined without. */
  readonly added: PenaltyTerm | undefined;
  /** The value that the (first) objective reads; undefined for a loss that is a model, and where the model's own is not recognized. */
  readonly prediction: Typed | undefined;
  /** The objective in a model's own loss, if it is recognized. */
  readonly own: OwnObjective | undefined;
  /** The input `labels`, if the objective added it. */
  readonly labels: Value | undefined;
  /** How the objective makes labels of tokens where the data hold none. */
  readonly ownLabels?: LabelMaker | undefined;
  /** Other inputs for labels and masks that the objective added. */
  readonly targets: readonly Value[];
  /** The losses that `dataLoss` adds up; none for a model that holds its loss. */
  readonly terms: readonly TermGraph[];
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
  if (!added) {
    const none = { added, penalty: undefined, parts: [], penalized: [] };
    return { ...data, ...none, seeds, dataSeeds: seeds, total: dataLoss };
  }
  const { weighted, seeds: more, penalty, parts, penalized } = added;
  return {
    ...data,
    ...{ added, penalty, parts, penalized },
    total: emit.add(emit.cast(dataLoss, type), weighted),
    ...{ seeds: [...seeds, ...more], dataSeeds: seeds },
  };
}

type DataLoss = Pick<
  LossGraph,
  "dataLoss" | "prediction" | "labels" | "ownLabels" | "targets" | "terms" | "own"
> & {
  seeds: Seed[];
};

function objectiveLoss(prepared: PreparedGraph, options: LossOptions): DataLoss {
  if (options.loss)
    throw new UsageError("give either an objective or the name of the model's own loss, not both");
  const { terms, labels, ownLabels, targets } = emitTerms(prepared, options);
  return {
    dataLoss: weightedSum(prepared, terms),
    ...{ prediction: terms[0]?.prediction, labels, ownLabels, targets, terms, own: undefined },
    seeds: terms.map(({ term, seed }) => weighted(prepared, term.weight, seed)),
  };
}

/** Σ weight · value, in float64 if all values are. */
function weightedSum({ emit }: PreparedGraph, terms: readonly TermGraph[]): Typed {
  const type = terms.every(({ value }) => value.type === "double") ? "double" : "float";
  return terms
    .map(({ term, value }) => {
      const own = emit.cast(value, type);
      return term.weight === 1 ? own : emit.mul(own, term.weight);
    })
    .reduce((a, b) => emit.add(a, b));
}

const weighted = ({ emit }: PreparedGraph, weight: number, { value, gradient }: Seed): Seed =>
  weight === 1 ? { value, gradient } : { value, gradient: () => emit.mul(gradient(), weight) };

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
    ...{ labels: undefined, targets: [], terms: [] },
    own,
    seeds: [{ value: loss, gradient: () => emit.filled(1, loss.shape, loss.type) }],
  };
}
