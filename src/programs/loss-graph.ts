import { hasFreeBatch } from "../analysis/dimensions.ts";
import { inferShapes } from "../analysis/infer.ts";
import { namesOfValue } from "../analysis/known-names.ts";
import { findParameters } from "../analysis/parameters.ts";
import type { Probe } from "../analysis/probe.ts";
import { Readings } from "../analysis/readings.ts";
import { findSites } from "../analysis/sites.ts";
import { checkNoArtifact } from "../artifacts/training-model.ts";
import type { Seed } from "../autodiff/walk.ts";
import { blockOf, removeBlock } from "../block/block.ts";
import { SorthError, UsageError } from "../errors.ts";
import { Emit } from "../graph/emit.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import { shapeText } from "../graph/shapes.ts";
import { choosePrediction, remarkOnOwnScores } from "../losses/prediction.ts";
import type { Model } from "../onnx/model.ts";
import { elementCount } from "../onnx/tensor.ts";
import { foldConstants } from "../passes/cleanup/fold-constants.ts";
import { expandModel, liftParameters } from "../passes/expansion/expand-model.ts";
import { typedOrHidden } from "../passes/expansion/obstacle.ts";
import { type Pass, runPass } from "../passes/pass.ts";
import type { PlanPenalty } from "../penalties/assemble.ts";
import { type ResolvedPlans, resolvePlans } from "../penalties/plan.ts";
import type { LossOptions } from "./options.ts";
import { type OwnObjective, ownObjective } from "./own-objective.ts";
import { emitPenalties, type PenaltyInputs } from "./penalty-graph.ts";
import { inputName } from "./ports.ts";
import type { PreparedGraph } from "./prepared-graph.ts";
import { tellParameters } from "./tell-parameters.ts";

/** The opset in which gradients are written. */
const gradientOpset = 18;

/**
 * Reads a model into a graph that can be differentiated: an injected block is taken out and its options kept, shared
 * initializers are split, functions and bodies are written out, the opset is raised, shapes are inferred, and what does
 * not depend on data is folded.
 * @param passes - rewrites of the expanded graph, before its shapes are inferred
 * @param keeps - tells by its names which constant stays one of its own, so that it can have a gradient
 * @throws SorthError when ONNX Runtime refuses the model, an operator has no adapter, or a dimension is not known
 */
export async function prepareGraph(
  model: Model,
  options: LossOptions,
  probe: Probe,
  passes: readonly Pass<unknown>[] = [],
  keeps: (names: readonly string[]) => boolean = () => false,
): Promise<PreparedGraph> {
  const graph = graphOf(model);
  checkNoArtifact(graph);
  const penalties = takeBlock(graph, options);
  liftParameters(graph, options, model.external);
  if (options.batch === undefined && hasFreeBatch(graph, options)) {
    throw new UsageError("the model leaves its batch size open, and gradients need one: give it (--batch)");
  }
  // Decided before bodies are written out: an unrolled initial state would look like a weight.
  const found = findParameters(graph, options);
  tellParameters(found, options);
  const readings = new Readings(graph);
  const asked = found.constants
    .map(({ value }) => value)
    .filter((value) => keeps(namesOfValue(value, readings)));
  const keep = new Set([...found.parameters.map(({ value }) => value), ...asked].map(({ name }) => name));
  await expandModel(graph, gradientOpset, probe, { dimensions: options, keep, external: model.external });
  const emit = new Emit(graph, { prefix: "sorth/" });
  for (const pass of passes) await runPass(pass, graph, { emit, probe, onMessage: options.onMessage });
  // Files of IR 3 list initializers among the inputs; nobody feeds them.
  for (const input of [...graph.inputs]) if (input.initializer) graph.removeInput(input);
  const { batch } = await inferShapes(graph, probe, options);
  const { sites, skipped } = findSites(graph);
  await foldConstants(graph, probe, { keep });
  return {
    graph,
    emit,
    batch,
    parameters: found.parameters.map(({ value }) => value),
    constants: found.constants.map(({ value }) => value),
    // Everything is fixed now, the batch too: a penalty may use the smaller of its forms.
    sites: sites.map((site) => ({ ...site, rowsFixed: true, freeAxes: [] })),
    skipped,
    penalties,
  };
}

/** Takes an injected block out of the graph; its penalties are the ones to train with. */
function takeBlock(graph: Graph, options: LossOptions): ResolvedPlans {
  const block = blockOf(graph);
  const chosen = options.penalties ?? [];
  if (!block) return resolvePlans(chosen);
  if (chosen.length > 0) {
    throw new UsageError(
      "the model has penalties of its own (it was injected); leave --penalty out, or strip the model first",
    );
  }
  removeBlock(graph, block);
  return resolvePlans(block.penalties);
}

/** A loss in a graph: its data part, its penalty, and where their gradients enter. */
export interface LossGraph {
  /** The loss of the data alone, a scalar. */
  readonly dataLoss: Typed;
  /** R, the sum of all sites' penalties, weighted among each other but not by the penalty weight; undefined without. */
  readonly penalty: Typed | undefined;
  /** What each plan adds to R: `penalty = Σ factor · schedule · value`. */
  readonly parts: readonly PlanPenalty[];
  /** dataLoss + weight · R. */
  readonly total: Typed;
  readonly seeds: readonly Seed[];
  /** What the objective reads; undefined for a model that holds its loss and does not tell. */
  readonly prediction: Typed | undefined;
  /** The objective in a model's own loss, where it is recognized. */
  readonly own: OwnObjective | undefined;
  /** The input that carries labels, where the objective added one. */
  readonly labels: Value | undefined;
  /** Names of the sites that have a penalty. */
  readonly penalized: readonly string[];
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

type DataLoss = Pick<LossGraph, "dataLoss" | "prediction" | "labels" | "own"> & { seeds: Seed[] };

function objectiveLoss({ graph, emit }: PreparedGraph, options: LossOptions): DataLoss {
  const { objective } = options;
  if (!objective) throw new UsageError("no objective was given");
  if (options.loss)
    throw new UsageError("give either an objective or the name of the model's own loss, not both");
  const { value, remark } = choosePrediction(graph, objective, options.output);
  if (remark) options.onMessage?.(remark);
  const prediction = typedOrHidden(value);
  const { type, shape } = objective.labels;
  const labelType = type === "float" ? prediction.type : type;
  const name = inputName(graph, "labels");
  const labels = graph.addInput(name, labelType, shape(prediction.shape));
  const built = objective.build(emit, prediction, typed(labels));
  return {
    dataLoss: built.value,
    prediction,
    labels,
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
