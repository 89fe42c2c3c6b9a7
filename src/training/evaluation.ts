import type { Probe } from "../analysis/probe.ts";
import { SorthError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import { typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import { graphToProto } from "../graph/proto.ts";
import { Model } from "../onnx/model.ts";
import { setBatchNormForm } from "./batch-norm.ts";
import { replaceDropout } from "./dropout.ts";
import { emitLoss, prepareGraph } from "./loss-graph.ts";
import type { LossOptions } from "./options.ts";
import { withoutPenalties } from "./penalty-graph.ts";
import { nameOutput } from "./ports.ts";
import type { StepPorts } from "./step.ts";

/** A model's inference form with its parameters as inputs. */
export interface EvaluationGraph {
  readonly model: Model;
  /** Output that the objective reads, and its shape; undefined for a model that holds its loss in another form. */
  readonly prediction: { readonly name: string; readonly shape: readonly number[] } | undefined;
  /** Loss of the whole batch; undefined with an objective, whose loss is counted on the predictions. */
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
  lower?: (graph: Graph, emit: Emit) => void,
): Promise<EvaluationGraph> {
  const { objective: _, ...quiet } = options;
  const own = { ...quiet, onMessage: () => {} };
  const prepared = await prepareGraph(model, own, probe, (graph) => setBatchNormForm(graph, "frozen"));
  const { graph, emit } = prepared;
  replaceDropout(graph, emit, "none");
  for (const { input } of [...ports.parameters, ...ports.statistics]) {
    const value = graph.value(input);
    if (value?.initializer) graph.initializerToInput(value);
  }
  let prediction = options.output ? graph.valueNamed(options.output) : graph.outputs[0];
  let loss: string | undefined;
  const outputs = [];
  if (!options.objective) {
    const built = emitLoss(withoutPenalties(prepared), own);
    prediction = built.prediction;
    outputs.push(built.dataLoss);
  } else if (!prediction) throw new SorthError("the model has no output");
  graph.outputs.length = 0;
  const [dataLoss] = outputs;
  if (dataLoss) loss = nameOutput(graph, emit, dataLoss, "loss").name;
  if (prediction && !graph.outputs.includes(prediction)) graph.addOutput(prediction);
  graph.prune();
  lower?.(graph, emit);
  return {
    model: Model.fromProto(graphToProto(graph)),
    prediction: prediction && { name: prediction.name, shape: typed(prediction).shape },
    loss,
  };
}
