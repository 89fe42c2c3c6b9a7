import { blockPrefix, penaltyOutput } from "../analysis/block-nodes.ts";
import type { Probe } from "../analysis/probe.ts";
import type { OrtCheckpoint } from "../artifacts/checkpoint.ts";
import { bufferSuffix, doneSuffix, loadable, resetInput } from "../artifacts/format.ts";
import {
  type OfficialAdamWOptions,
  type OfficialOptimizer,
  optimizerModel,
} from "../artifacts/optimizer-model.ts";
import { rulesFor } from "../autodiff/rules-for.ts";
import { backward } from "../autodiff/walk.ts";
import { SorthError, UsageError } from "../errors.ts";
import { float, int, ints } from "../graph/attribute.ts";
import { checkGraph } from "../graph/check.ts";
import type { Emit } from "../graph/emit.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { graphToProto } from "../graph/proto.ts";
import { descendantsOf } from "../graph/reach.ts";
import { DataType } from "../onnx/data-types.ts";
import { Model } from "../onnx/model.ts";
import { Tensor } from "../onnx/tensor.ts";
import { runPass } from "../passes/pass.ts";
import { batchNormStatistics, lowerBatchNorm, setBatchNormForm } from "../passes/training/batch-norm.ts";
import { replaceDropout } from "../passes/training/dropout.ts";
import { recomputeActivations } from "../passes/training/recompute.ts";
import { fixedDraws } from "../penalties/build.ts";
import { emitLoss, type LossGraph, prepareGraph } from "./loss-graph.ts";
import type { LossOptions, TrainingFormOptions } from "./options.ts";
import { constantWeight, withoutPenalties } from "./penalty-graph.ts";
import { nameOutput } from "./ports.ts";
import type { PreparedGraph } from "./prepared-graph.ts";

/** Options of {@link buildArtifacts}. */
export interface ArtifactOptions extends LossOptions, TrainingFormOptions {
  /** Which optimizer_model is written; default adamw. */
  readonly optimizer?: OfficialOptimizer;
  /** Fixed in the optimizer model. */
  readonly adamw?: OfficialAdamWOptions;
}

/** The files of ONNX Runtime's training API. */
export interface Artifacts {
  readonly training: Model;
  readonly eval: Model;
  readonly optimizer: Model;
  readonly checkpoint: OrtCheckpoint;
}

/** Of the files: loads in every release that has a training session. */
const irVersion = 8;

/**
 * Writes what the sessions of ONNX Runtime's training API (1.19.2, Python and web) train: training_model, eval_model,
 * optimizer_model and checkpoint, without Python and with our gradients, so also for models that its own builder refuses.
 * The backward part is in standard operators; gradients are named `<value>_grad`. Running statistics of BatchNorm are
 * frozen parameters of the checkpoint that every step updates; Dropout draws inside the graph. Labels of a cross entropy
 * are int64. The batch is fixed. With a penalty the loss contains it and the last output, `sorth_penalty`, shows it.
 *
 * @throws SorthError for a model of a newer opset, parameters that are not float32, or an operator without a derivative
 * @example
 * const { training, checkpoint } = await buildArtifacts(model, { objective: crossEntropy(), batch: 32 });
 */
export async function buildArtifacts(
  model: Model,
  options: ArtifactOptions,
  probe: Probe,
): Promise<Artifacts> {
  const { optimizer, adamw } = options;
  if (optimizer === "sgd" && adamw && Object.keys(adamw).length > 0) {
    throw new UsageError(
      `the optimizer sgd of the artifacts has no options: leave out ${Object.keys(adamw).join(", ")} (--weight-decay)`,
    );
  }
  const { graph, checkpoint } = await trainingGraph(model, options, probe);
  return {
    training: Model.fromProto(graphToProto(graph, { irVersion })),
    eval: await evalModel(model, options, probe, graph),
    optimizer: optimizerModel(options.optimizer ?? "adamw", options.adamw),
    checkpoint,
  };
}

async function trainingGraph(
  model: Model,
  options: ArtifactOptions,
  probe: Probe,
): Promise<{ graph: Graph; checkpoint: OrtCheckpoint }> {
  const prepared = await prepareGraph(model, options, probe, [
    setBatchNormForm({ mode: options.batchNorm ?? "train" }),
  ]);
  const { graph, emit } = prepared;
  const context = { emit, probe, onMessage: options.onMessage };
  checkKinds(prepared);
  const masks = await runPass(replaceDropout({ mode: "all" }), graph, context);
  for (const { input, ratio } of masks) drawMask(graph, emit, input, ratio);
  const loss = emitLoss(prepared, options, { ...constantWeight(prepared, options), draw: fixedDraws(emit) });
  const responses = prepared.sites.map(({ response }) => response);
  const trainable = descendantsOf(prepared.parameters);
  const wrt = [...prepared.parameters, ...responses.filter((response) => trainable.has(response))];
  // A penalty that is injected later is added to the gradients of responses and parameters, and to nothing else.
  const arrivals = new Map<Node, Typed>();
  const separate = new Set(responses);
  const gradients = backward(graph, {
    wrt,
    seeds: loss.seeds,
    rules: await rulesFor(graph),
    emit,
    separate,
    arrivals,
  });
  const trained = prepared.parameters.filter((parameter) => gradients.has(parameter));
  for (const { name } of prepared.parameters) {
    if (!trained.some((parameter) => parameter.name === name)) {
      options.onMessage?.(`${name}: not trained, the loss does not depend on it`);
    }
  }
  if (trained.length === 0) {
    throw new SorthError("the loss depends on no trainable parameter; see --trainable and --freeze");
  }
  const running = batchNormStatistics(graph).flatMap(({ mean, variance }) => [mean, variance]);
  const tensorsOf = (values: readonly Value[]) => values.map(({ initializer }) => initializer as Tensor);
  const checkpoint: OrtCheckpoint = {
    parameters: tensorsOf(trained),
    frozen: tensorsOf(running),
    properties: new Map(),
  };
  wideLabels(graph, emit, loss);
  for (const value of [...trained, ...running]) graph.initializerToInput(value);
  const statistics = await runPass(
    lowerBatchNorm({ running: options.runningVariance ?? "onnx" }),
    graph,
    context,
  );
  // The names by which inject finds them.
  for (const response of responses) {
    const gradient = gradients.get(response);
    if (gradient?.producer) graph.rename(gradient, `${response.name}_grad`);
  }

  graph.outputs.length = 0;
  nameOutput(graph, emit, loss.total, "loss");
  const sums = trained.map((parameter) => {
    const { name, shape } = typed(parameter);
    const gradient = named(graph, emit, gradients.get(parameter) as Typed, `${name}_grad`);
    const buffer = graph.addInput(`${name}${bufferSuffix}`, "float", shape);
    return { name, buffer, gradient };
  });
  const reset = graph.addInput(resetInput, "bool", [1]);
  for (const { name, buffer, gradient } of sums) accumulate(graph, name, buffer, gradient, reset);
  if (statistics.length > 0) {
    const always = graph.addInitializer(
      Tensor.of(graph.freshName("sorth/always"), "bool", [1], Uint8Array.of(1)),
    );
    // "Accumulated" with the reset flag set: the runtime writes the new number into the frozen parameter.
    for (const { input, next } of statistics) accumulate(graph, input.name, input, next, always);
  }
  if (loss.penalty) nameOutput(graph, emit, loss.penalty, penaltyOutput);
  graph.prune();
  if (options.recompute) {
    await runPass(recomputeActivations({ arrivals }), graph, context);
    graph.prune();
  }
  giveUpPrefix(graph);
  graph.metadata.clear();
  graph.opsets.set("com.microsoft", 1);
  checkGraph(graph);
  return { graph, checkpoint };
}

/** Names with the prefix of injected blocks are left to them: a penalty can be injected later. */
function giveUpPrefix(graph: Graph): void {
  const other = (name: string) => `step/${name.slice(blockPrefix.length)}`;
  for (const node of graph.nodes)
    if (node.name.startsWith(blockPrefix)) graph.nameNode(node, other(node.name));
  for (const value of [...graph.values]) {
    if (value.name.startsWith(blockPrefix)) graph.rename(value, graph.freshName(other(value.name)));
  }
}

function checkKinds({ graph, parameters }: PreparedGraph): void {
  if (graph.opset > loadable.opset.most) {
    throw new SorthError(
      `the model has opset ${graph.opset}; ONNX Runtime 1.19.2, the last with a training session, knows opsets up to ${loadable.opset.most}: export it again with an older one`,
    );
  }
  const other = parameters.find(({ type }) => type !== "float");
  if (other) {
    throw new SorthError(
      `the parameter "${other.name}" is ${other.type}; ONNX Runtime's training API trains float32 only: freeze it (--freeze) or convert the model`,
    );
  }
}

/** Numbers of its own for every run: kept where a uniform number is not below the ratio. */
function drawMask(graph: Graph, emit: Emit, mask: Value, ratio: number): void {
  const { shape, type } = typed(mask);
  const uniform = emit.op("RandomUniform", [], shape, {
    type,
    attributes: { dtype: int(DataType[type]), shape: ints([...shape]), low: float(0), high: float(1) },
  });
  graph.replaceUses(mask, emit.cast(emit.greaterOrEqual(uniform, ratio), type));
  graph.removeInput(mask);
}

/** Labels are int64 in the official tools, int32 here. */
function wideLabels(graph: Graph, emit: Emit, { labels }: LossGraph): void {
  if (labels?.type !== "int32" || !labels.shape) return;
  const { name, shape } = labels;
  graph.rename(labels, graph.freshName(`sorth/${name}`));
  const wide = graph.addInput(name, "int64", shape);
  graph.replaceUses(labels, emit.cast(wide, "int32"));
  graph.removeInput(labels);
}

/** A value of that name: itself, or a copy where it has a name that counts already. */
function named(graph: Graph, emit: Emit, value: Typed, name: string): Typed {
  const holder = graph.value(name);
  if (holder === value) return value;
  if (holder) {
    throw new SorthError(`the model has a value "${name}", a name that its gradient needs; rename it`);
  }
  const own = value.producer && !value.name.endsWith("_grad") ? value : emit.identity(value);
  graph.rename(own, name);
  return own;
}

function accumulate(graph: Graph, name: string, buffer: Value, gradient: Value, reset: Value): void {
  const node = graph.addNode({
    opType: "InPlaceAccumulatorV2",
    domain: "com.microsoft",
    name: graph.freshName(`sorth/accumulate/${name}`),
    inputs: [buffer, gradient, reset],
    outputs: [`${name}${doneSuffix}`],
  });
  const done = node.outputs[0];
  if (!done) return;
  done.type = "bool";
  done.shape = [1];
  graph.addOutput(done);
}

/** The loss of the data in inference form, with the inputs of the training model that are no gradients, in its order. */
async function evalModel(
  model: Model,
  options: ArtifactOptions,
  probe: Probe,
  training: Graph,
): Promise<Model> {
  const quiet = { ...options, onMessage: () => {} };
  const prepared = await prepareGraph(model, quiet, probe, [setBatchNormForm({ mode: "frozen" })]);
  const { graph, emit } = prepared;
  await runPass(replaceDropout({ mode: "none" }), graph, { emit, probe });
  const loss = emitLoss(withoutPenalties(prepared), quiet);
  wideLabels(graph, emit, loss);
  graph.outputs.length = 0;
  nameOutput(graph, emit, loss.dataLoss, "loss");
  giveUpPrefix(graph);
  const wanted = training.inputs.filter(({ name }) => name !== resetInput && !name.endsWith(bufferSuffix));
  for (const { name } of wanted) {
    const value = graph.value(name);
    if (value?.initializer) graph.initializerToInput(value);
  }
  const byName = new Map(graph.inputs.map((input) => [input.name, input]));
  const ordered = wanted.map((input) => {
    const own = byName.get(input.name);
    if (own) return own;
    const { shape, type } = typed(input);
    return graph.addInput(input.name, type, shape);
  });
  graph.inputs.splice(0, graph.inputs.length, ...ordered);
  graph.prune();
  graph.metadata.clear();
  return Model.fromProto(graphToProto(graph, { irVersion }));
}
