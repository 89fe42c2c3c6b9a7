import { drawsNumbers } from "../analysis/drawing-operators.ts";
import { inputsBesideLayers } from "../analysis/label-inputs.ts";
import type { Probe } from "../analysis/probe.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import type { Shape } from "../graph/shapes.ts";
import type { Objective } from "../losses/objective.ts";
import { choosePrediction } from "../losses/prediction.ts";
import { isObjective, isOfEmbeddings, type NamedTerm, termsOf } from "../losses/terms.ts";
import type { Model } from "../onnx/model.ts";
import type { Lowering } from "../passes/backends/table.ts";
import { setBatchNormForm } from "../passes/training/batch-norm.ts";
import { poolBeforeRelu } from "../passes/training/pool-before-relu.ts";
import type { StateLayout } from "../passes/training/store-as-read.ts";
import { dropoutMasks } from "./dropout-masks.ts";
import type { LossGraph } from "./loss-graph.ts";
import type { LossOptions } from "./options.ts";
import { type PrepareOptions, prepare } from "./prepare.ts";
import type { Program } from "./program.ts";
import type { StepPorts } from "./step-ports.ts";
import { dataPort, inputPort } from "./training-gradients.ts";

/** One of the losses of an evaluation. */
export interface EvaluatedTerm extends Pick<NamedTerm, "name" | "weight" | "mask"> {
  /** Counts figures on {@link prediction}; undefined for a loss that only the graph computes. */
  readonly objective: Objective | undefined;
  /** Output that the objective reads, and its shape. */
  readonly prediction: { readonly name: string; readonly shape: readonly number[] } | undefined;
  /** Input of its labels; undefined for the labels of the dataset. */
  readonly labels: string | undefined;
  /** Output that is the loss: of each place (its first axis counts the samples), or of the whole batch. */
  readonly output: { readonly name: string; readonly shape: readonly number[] } | undefined;
}

/** A model's inference form with its parameters as inputs. */
export interface EvaluationGraph {
  readonly model: Model;
  /** The losses to add up; none for a model that holds its loss in a form that is not recognized. */
  readonly terms: readonly EvaluatedTerm[];
  /** Output that is the model's own loss of the whole batch; undefined if the terms compute it sample by sample. */
  readonly loss: string | undefined;
  /** The inputs besides the state, where labels are among them because the graph computes losses. */
  readonly data?: Pick<StepPorts, "inputs" | "labels" | "targets">;
}

/** Reads a model in inference form: stored statistics, no Dropout, the same random numbers each time. Makes no remarks, because training has already made them. */
export async function inferenceForm(
  model: Model,
  options: LossOptions & { readonly samplesFirst?: boolean },
  probe: Probe,
  how: Pick<PrepareOptions, "taken" | "masters"> = {},
): Promise<Program> {
  const passes = [setBatchNormForm({ mode: "frozen" }), poolBeforeRelu()];
  // Where gradients stop changes no value.
  const { detach: _, ...own } = options;
  const program = await prepare(model, { ...own, onMessage: () => {} }, probe, { passes, ...how });
  await dropoutMasks(program, "none");
  if (program.graph.nodes.some(drawsNumbers)) await (await import("./model-draws.ts")).fixedDraws(program);
  return program;
}

/**
 * Writes the inference form of a model for evaluation while it is trained: stored statistics, no Dropout, no penalty,
 * parameters and statistics as inputs under the names that the step graph gives them, and in the form that the ports name.
 */
export async function buildEvaluation(
  model: Model,
  options: LossOptions,
  ports: Pick<StepPorts, "parameters" | "statistics"> & Partial<Pick<StepPorts, "inputs">>,
  probe: Probe,
  lower?: Lowering,
): Promise<EvaluationGraph> {
  const program = await inferenceForm(model, { ...options, samplesFirst: true }, probe, { masters: true });
  const { graph } = program;
  feedState(program, ports);
  const state = [...ports.parameters, ...ports.statistics];
  // A model's own loss without a training step, whose inputs would serve: the model keeps its weights.
  const own =
    options.loss !== undefined && state.length === 0
      ? { labels: undefined, targets: inputsBesideLayers(graph, program.prepared.parameters) }
      : undefined;
  const { terms, loss, added = own } = measured(program, options);
  program.dropOutputs();
  const total = loss && program.output(loss, "loss").name;
  const outputs = new Map<Value, Typed>();
  const output = (value: Value | undefined, name?: string) => {
    if (!value) return undefined;
    const known =
      outputs.get(value) ??
      (name === undefined ? graph.addOutput(value) : program.output(typed(value), name));
    outputs.set(value, typed(known));
    return { name: known.name, shape: typed(known).shape };
  };
  const evaluated = terms.map(({ objective, prediction, labels, value, places, term }) => ({
    ...{ name: term.name, weight: term.weight, ...(term.mask !== undefined && { mask: term.mask }) },
    ...{ objective, labels, prediction: objective && output(prediction) },
    output: objective ? undefined : output(places ?? value, `loss.${term.name}`),
  }));
  const data = added && dataOf(program, added, state);
  if (!data && ports.inputs)
    leaveFedInputs(program, [...ports.inputs.map(({ name }) => name), ...state.map(({ input }) => input)]);
  return {
    // A session opens the graph at once.
    model: await program.finish({ passes: lower?.passes ?? [], check: "structure" }),
    ...{ terms: evaluated, loss: total, ...(data && { data }) },
  };
}

/** Removes inputs that the step does not feed, because nothing of what is trained reads them (a mask, what another output reads). */
function leaveFedInputs({ graph }: Program, fed: readonly string[]): void {
  graph.pruneInputs(({ name }) => fed.includes(name));
}

/** The inputs of a graph besides its state. Removes those that nothing reads. */
function dataOf(
  { graph }: Program,
  { labels, ownLabels, targets }: AddedInputs,
  state: readonly { readonly input: string }[],
): NonNullable<EvaluationGraph["data"]> {
  // Figures on numbers read labels and masks that no node reads.
  const asked = new Set([labels, ...targets]);
  graph.pruneInputs((input) => asked.has(input));
  const held = new Set(state.map(({ input }) => input));
  const rows = graph.outputs[0]?.shape?.[0];
  const inputs = graph.inputs.filter((input) => input !== labels && !held.has(input.name));
  const read = (value: Value) => graph.inputs.includes(value);
  return {
    inputs: inputs.map((input) => inputPort(input, rows)),
    labels:
      labels && read(labels) ? { ...dataPort(labels), ...(ownLabels && { own: ownLabels }) } : undefined,
    targets: targets.filter(read).map(({ name }) => name),
  };
}

/** Makes inputs of the parameters and statistics of a training step, in the form that the ports name. */
export function feedState(program: Program, ports: Pick<StepPorts, "parameters" | "statistics">): void {
  for (const port of [...ports.parameters, ...ports.statistics]) {
    const value = program.graph.value(port.input);
    if (!value?.initializer) continue;
    program.feed(value);
    if (port.layout) readInModelForm(program, value, port.shape, port.layout);
  }
}

/** Feeds a weight as a training step holds it: its readers get it back in the model's form. */
function readInModelForm(
  { graph, emit }: Program,
  weight: Value,
  shape: Shape,
  { shape: ofModel, axes, permutation }: StateLayout,
): void {
  const readers = new Set([...weight.uses].map(({ node }) => node));
  weight.shape = shape;
  weight.declared = shape;
  const cut = emit.reshape(
    weight,
    permutation.map((axis) => axes[axis] ?? 1),
  );
  const inverse = permutation.map((_, axis) => permutation.indexOf(axis));
  const original = emit.reshape(emit.transpose(cut, inverse), ofModel);
  const added = [...weight.uses].flatMap(({ node }) => (readers.has(node) ? [] : [node]));
  graph.replaceUses(weight, original, { except: new Set(added) });
}

type AddedInputs = Pick<LossGraph, "labels" | "ownLabels" | "targets">;

/** A loss to evaluate, and what it reads or computes in the graph. */
interface MeasuredTerm {
  readonly term: NamedTerm;
  readonly objective: Objective | undefined;
  readonly prediction: Value | undefined;
  readonly labels: string | undefined;
  readonly value?: Typed;
  readonly places?: Typed | undefined;
}

/** The values to evaluate: those that objectives read, losses that only a graph computes, or the model's own loss. */
function measured(
  program: Program,
  options: LossOptions,
): {
  readonly terms: readonly MeasuredTerm[];
  readonly loss: Typed | undefined;
  /** Inputs that the losses added to the graph. */
  readonly added?: AddedInputs;
} {
  const { objective, output } = options;
  if (!objective) {
    const { own, dataLoss } = program.dataLoss();
    const term = own && { objective: own.objective, name: own.objective.name, weight: 1 };
    return {
      terms: term ? [{ ...own, term, labels: own.labels.name }] : [],
      loss: own?.isLoss ? undefined : dataLoss,
    };
  }
  const terms = termsOf(objective, output);
  const { taught } = program.prepared;
  // A step beside a teacher may feed no labels, so that its inputs are not those of the evaluation.
  const isPlain = ({ objective, teacher }: NamedTerm) =>
    teacher === undefined && isObjective(objective) && !isOfEmbeddings(objective);
  if (terms.every(isPlain)) {
    const all = terms.map((term): MeasuredTerm => {
      const { objective: own, output: name, labels } = term as NamedTerm & { readonly objective: Objective };
      const { value } = choosePrediction(program.graph, own, name);
      const prediction = program.prepared.samplesFirst?.(own, value) ?? value;
      return { term, objective: own, prediction, labels };
    });
    return { terms: all, loss: undefined };
  }
  const { terms: all, ...added } = program.dataLoss();
  const emitted = all.map(({ term, prediction, value, places }): MeasuredTerm => {
    const isTaught = taught?.values.has(term.name) ?? false;
    const own = isObjective(term.objective) && !isTaught ? term.objective : undefined;
    const rows = program.prepared.batch;
    // Places can be counted one by one if the first axis counts the samples.
    const counted =
      places && (rows === undefined || (places.shape[0] ?? 0) % rows === 0) ? places : undefined;
    return { term, objective: own, prediction, labels: term.labels, value, places: counted };
  });
  return { terms: emitted, loss: undefined, added };
}
