import type { Probe } from "../analysis/probe.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import { modelOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import type { Objective } from "../losses/objective.ts";
import { choosePrediction } from "../losses/prediction.ts";
import type { Model } from "../onnx/model.ts";
import { type Pass, runPass } from "../passes/pass.ts";
import { setBatchNormForm } from "../passes/training/batch-norm.ts";
import { replaceDropout } from "../passes/training/dropout.ts";
import { emitLoss, prepareGraph } from "./loss-graph.ts";
import type { LossOptions } from "./options.ts";
import { withoutPenalties } from "./penalty-graph.ts";
import { nameOutput } from "./ports.ts";
import type { StepPorts } from "./step.ts";

/** A model's inference form with its parameters as inputs. */
export interface EvaluationGraph {
  readonly model: Model;
  /** Counts figures on {@link prediction}; undefined for a model that holds its loss in a form that is not recognized. */
  readonly objective: Objective | undefined;
  /** Output that the objective reads, and its shape. */
  readonly prediction: { readonly name: string; readonly shape: readonly number[] } | undefined;
  /** Input of the labels that the objective of a model's own loss reads. */
  readonly labels: string | undefined;
  /** Output that is the loss of the whole batch; undefined where the objective counts it sample by sample. */
  readonly loss: string | undefined;
}

/**
 * Writes the inference form of a model for evaluation while it is trained: stored statistics, no Dropout, no penalty,
 * parameters and statistics as inputs under the names that the step graph gives them.
 */
export async function buildEvaluation(
  model: Model,
  options: LossOptions,
  ports: StepPorts,
  probe: Probe,
  lower: readonly Pass<unknown>[] = [],
): Promise<EvaluationGraph> {
  const { objective: _, ...others } = options;
  const quietly = { ...others, onMessage: () => {} };
  const prepared = await prepareGraph(model, quietly, probe, [setBatchNormForm({ mode: "frozen" })]);
  const { graph, emit } = prepared;
  const context = { emit, probe };
  await runPass(replaceDropout({ mode: "none" }), graph, context);
  for (const { input } of [...ports.parameters, ...ports.statistics]) {
    const value = graph.value(input);
    if (value?.initializer) graph.initializerToInput(value);
  }
  let { objective } = options;
  let prediction: Value | undefined;
  let labels: Value | undefined;
  let batchLoss: Typed | undefined;
  if (objective) {
    prediction = choosePrediction(graph, objective, options.output).value;
  } else {
    const { own, dataLoss } = emitLoss(withoutPenalties(prepared), quietly);
    ({ objective, prediction, labels } = own ?? {});
    if (!own?.isLoss) batchLoss = dataLoss;
  }
  graph.outputs.length = 0;
  const loss = batchLoss && nameOutput(graph, emit, batchLoss, "loss").name;
  if (prediction && !graph.outputs.includes(prediction)) graph.addOutput(prediction);
  graph.prune();
  for (const pass of lower) await runPass(pass, graph, context);
  return {
    model: modelOf(graph, model),
    objective,
    prediction: prediction && { name: prediction.name, shape: typed(prediction).shape },
    labels: labels?.name,
    loss,
  };
}
