import { penaltyOutput, stepPrefix } from "../analysis/block-nodes.ts";
import type { Probe } from "../analysis/probe.ts";
import type { OrtCheckpoint } from "../artifacts/checkpoint.ts";
import { bufferSuffix, doneSuffix, loadable, resetInput } from "../artifacts/format.ts";
import {
  checkOfficial,
  type OfficialAdamWOptions,
  type OfficialOptimizer,
  optimizerModel,
} from "../artifacts/optimizer-model.ts";
import { SorthError, UsageError } from "../errors.ts";
import { float, int, ints } from "../graph/attribute.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import { descendantsOf } from "../graph/reach.ts";
import { checkKnown, checkOptions, type OptionNames } from "../known-options.ts";
import { isObjective, termsOf } from "../losses/terms.ts";
import { DataType } from "../onnx/data-types.ts";
import type { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { NextStatistic } from "../passes/training/batch-norm.ts";
import { type DropoutMask, replaceDropout } from "../passes/training/replace-dropout.ts";
import { fixedDraws } from "../penalties/build.ts";
import { checkForm } from "./check-form.ts";
import { inferenceForm } from "./evaluation.ts";
import type { LossGraph } from "./loss-graph.ts";
import { stepOptionNames } from "./option-names.ts";
import type { LossOptions, TrainingFormOptions } from "./options.ts";
import { constantWeight } from "./penalty-graph.ts";
import { prepare, withLoss } from "./prepare.ts";
import type { PreparedGraph } from "./prepared-graph.ts";
import type { Program } from "./program.ts";
import { runningStatistics, trainingForm } from "./training-gradients.ts";
import type { TrainedParameter } from "./update.ts";

/** Options of {@link buildArtifacts}. */
export interface ArtifactOptions extends LossOptions, TrainingFormOptions {
  /** Which optimizer_model is written; default adamw. */
  readonly optimizer?: OfficialOptimizer;
  /** Fixed in the optimizer model. */
  readonly adamw?: OfficialAdamWOptions;
}

const optionNames = {
  ...stepOptionNames,
  adamw: true,
} as const satisfies OptionNames<ArtifactOptions>;

/** The files of ONNX Runtime's training API. */
export interface Artifacts {
  readonly training: Model;
  readonly eval: Model;
  readonly optimizer: Model;
  readonly checkpoint: OrtCheckpoint;
}

/** Every release that has a training session loads files of this version. They hold all of their data. */
const form = { irVersion: 8, embed: true, check: "structure" } as const;

/** Writes the files of ONNX Runtime's training API. `Library.buildArtifacts` documents it. */
export async function buildArtifacts(model: Model, given: ArtifactOptions, probe: Probe): Promise<Artifacts> {
  checkKnown("buildArtifacts", given, optionNames);
  const options = await withLoss(model, given);
  const { optimizer, adamw } = options;
  if (options.objective !== undefined) termsOf(options.objective);
  if (adamw !== undefined) checkOptions("adamw", adamw);
  checkOfficial(optimizer ?? "adamw");
  if (optimizer === "sgd" && adamw && Object.keys(adamw).length > 0) {
    throw new UsageError(
      `the optimizer sgd of the artifacts has no options: leave out ${Object.keys(adamw).join(", ")} (--weight-decay)`,
    );
  }
  if (options.teacher) {
    throw new UsageError(
      "artifacts compare predictions with labels alone: leave the teacher out, and train with it here",
    );
  }
  if (options.objective && !isObjective(options.objective)) {
    throw new UsageError(
      `artifacts hold one of the losses by name, not "${options.objective.name}": give one objective, without options for labels, mask or weight`,
    );
  }
  const { training, checkpoint, inputs } = await trainingModel(model, options, probe);
  return {
    training,
    eval: await evalModel(model, options, probe, inputs),
    optimizer: optimizerModel(optimizer ?? "adamw", adamw),
    checkpoint,
  };
}

/** The training model: loss and gradients, and what a session sums over runs. */
async function trainingModel(
  model: Model,
  options: ArtifactOptions,
  probe: Probe,
): Promise<{ training: Model; checkpoint: OrtCheckpoint; inputs: readonly Typed[] }> {
  const program = await prepare(model, options, probe, {
    passes: trainingForm(model, options),
    // A penalty can be injected later, and then all names with its prefix are the block's.
    taken: stepPrefix,
  });
  const { graph, emit } = program;
  const { parameters, sites } = program.prepared;
  checkKinds(program.prepared);
  await checkForm(program, options);
  // The training API feeds no masks, draws or penalty weight.
  for (const mask of await program.run(replaceDropout({ mode: "all" }))) drawMask(program, mask);
  const loss = program.loss({ ...constantWeight(program.prepared, options), draw: fixedDraws(emit) });
  // A penalty that is injected later is added to the gradients of responses and parameters, and to nothing else.
  const trainable = descendantsOf(parameters);
  const responses = sites.map(({ response }) => response);
  const wrt = [...parameters, ...responses.filter((response) => trainable.has(response))];
  const gradients = await program.gradients(loss, wrt, new Set(responses));
  const trained = program.trained(gradients);
  wideLabels(program, loss);
  const weights = trained.map(({ value }) => program.feed(value));
  const statistics = await runningStatistics(program, options.runningVariance);
  nameResponses(program, responses, gradients);

  program.dropOutputs();
  program.output(loss.total, "loss");
  accumulateAll(program, trained, statistics);
  if (loss.penalty) program.output(loss.penalty, penaltyOutput);
  graph.opsets.set("com.microsoft", 1);
  return {
    training: await program.finish({ passes: await program.recomputation(), ...form }),
    checkpoint: {
      parameters: weights,
      frozen: statistics.map(({ input }) => program.initial.get(input.name) as Tensor),
      properties: new Map(),
    },
    inputs: graph.inputs.map(typed),
  };
}

/** The eval model: the loss of the data in inference form, with those inputs of the training model that are no gradients. */
async function evalModel(
  model: Model,
  options: ArtifactOptions,
  probe: Probe,
  inputs: readonly Typed[],
): Promise<Model> {
  const program = await inferenceForm(model, options, probe, { taken: stepPrefix });
  const { graph } = program;
  const loss = program.dataLoss();
  wideLabels(program, loss);

  program.dropOutputs();
  program.output(loss.dataLoss, "loss");
  const wanted = inputs.filter(({ name }) => name !== resetInput && !name.endsWith(bufferSuffix));
  const ordered = wanted.map(({ name, type, shape }) => {
    const value = graph.value(name);
    if (value?.initializer) program.feed(value);
    return graph.inputs.find((input) => input.name === name) ?? graph.addInput(name, type, shape);
  });
  graph.inputs.splice(0, graph.inputs.length, ...ordered);
  return program.finish(form);
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

/** Draws a mask in every run: kept where a uniform number is not below the ratio. */
function drawMask({ graph, emit }: Program, { input, ratio }: DropoutMask): void {
  const { shape, type } = typed(input);
  const uniform = emit.op("RandomUniform", [], shape, {
    type,
    attributes: { dtype: int(DataType[type]), shape: ints([...shape]), low: float(0), high: float(1) },
  });
  graph.replaceUses(input, emit.cast(emit.greaterOrEqual(uniform, ratio), type));
  graph.removeInput(input);
}

/** Labels are int64 in the official tools, int32 here. */
function wideLabels({ graph, emit }: Program, { labels }: LossGraph): void {
  if (labels?.type !== "int32" || !labels.shape) return;
  const { name, shape } = labels;
  graph.rename(labels, graph.freshName(`${stepPrefix}${name}`));
  const wide = graph.addInput(name, "int64", shape);
  graph.replaceUses(labels, emit.cast(wide, "int32"));
  graph.removeInput(labels);
}

/** Gives the gradients of responses the names by which inject finds them. */
function nameResponses(
  { graph }: Program,
  responses: readonly Value[],
  gradients: ReadonlyMap<Value, Typed>,
): void {
  for (const response of responses) {
    const gradient = gradients.get(response);
    if (gradient?.producer) graph.rename(gradient, `${response.name}_grad`);
  }
}

/** A value with the given name: the value itself, or a copy if its name is already that of a gradient. */
function named({ graph, emit }: Program, value: Typed, name: string): Typed {
  const holder = graph.value(name);
  if (holder === value) return value;
  if (holder) {
    throw new SorthError(`the model has a value "${name}", a name that its gradient needs; rename it`);
  }
  const own = value.producer && !value.name.endsWith("_grad") ? value : emit.identity(value);
  graph.rename(own, name);
  return own;
}

/** Adds the gradients up over runs, under their official names, and writes the next statistics. */
function accumulateAll(
  program: Program,
  trained: readonly TrainedParameter[],
  statistics: readonly NextStatistic[],
): void {
  const { graph, emit } = program;
  const sums = trained.map(({ name, value, gradient }) => ({
    name,
    gradient: named(program, gradient, `${name}_grad`),
    buffer: graph.addInput(`${name}${bufferSuffix}`, "float", value.shape),
  }));
  const reset = graph.addInput(resetInput, "bool", [1]);
  for (const { name, buffer, gradient } of sums) accumulate(program, name, buffer, gradient, reset);
  // "Accumulated" with the reset flag set: the runtime writes the new number into the frozen parameter.
  for (const { input, next } of statistics) {
    accumulate(program, input.name, input, next, emit.constant("bool", [1], Uint8Array.of(1)));
  }
}

/** Adds up a gradient over runs, or starts again where `reset` is true; the output says that it is done. */
function accumulate({ graph }: Program, name: string, buffer: Value, gradient: Value, reset: Value): void {
  const node = graph.addNode({
    opType: "InPlaceAccumulatorV2",
    domain: "com.microsoft",
    name: graph.freshName(`${stepPrefix}accumulate/${name}`),
    inputs: [buffer, gradient, reset],
    outputs: [`${name}${doneSuffix}`],
  });
  const done = node.outputs[0];
  if (!done) return;
  done.type = "bool";
  done.shape = [1];
  graph.addOutput(done);
}
