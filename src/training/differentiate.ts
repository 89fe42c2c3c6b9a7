import { namesOfValue } from "../analysis/known-names.ts";
import { matchesAny } from "../analysis/name-patterns.ts";
import type { Probe } from "../analysis/probe.ts";
import { rules } from "../autodiff/table.ts";
import { backward } from "../autodiff/walk.ts";
import { UsageError } from "../errors.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Node, Value } from "../graph/node.ts";
import { graphToProto } from "../graph/proto.ts";
import { isFloat } from "../onnx/data-types.ts";
import { Model } from "../onnx/model.ts";
import { checkWritten } from "./check-written.ts";
import { replaceDropout } from "./dropout.ts";
import { emitLoss, type PreparedGraph, prepareGraph } from "./loss-graph.ts";
import type { LossOptions } from "./options.ts";
import { constantWeight } from "./penalty-graph.ts";
import { nameOutput } from "./ports.ts";
import { recomputeActivations, tellRecomputed } from "./recompute.ts";

/** Options of {@link differentiate}. */
export interface DifferentiateOptions extends LossOptions {
  /** Only gradients of parameters whose name matches. */
  readonly wrt?: RegExp;
  /** Also gradients of the model's float inputs whose name matches (for gradient penalties, saliency, adversarial examples). */
  readonly wrtInputs?: RegExp;
}

/** A gradient graph and what it computes. */
export interface GradientModel {
  /** Inputs as the model, `labels` with an objective, a mask per training-mode Dropout; outputs the loss, then gradients. */
  readonly model: Model;
  /** Name of the loss output. */
  readonly loss: string;
  /** Name of a parameter, or of an input asked for, to the name of its gradient output. */
  readonly gradients: ReadonlyMap<string, string>;
  /** Mask input name to the ratio of its Dropout. */
  readonly masks: ReadonlyMap<string, number>;
}

/**
 * Writes the gradient of a model's loss as an ONNX graph of standard operators. Parameters stay initializers;
 * BatchNormalization and Dropout stay as the file has them. A parameter on which the loss does not depend gets zeros.
 * What comes out can be differentiated again.
 *
 * @throws SorthError when an operator between a parameter and the loss has no derivative: which, where, and the path
 * @example
 * const { model: gradient } = await differentiate(model, { objective: crossEntropy(), batch: 32 });
 * await writeModel(gradient, "grad.onnx"); // outputs: loss, fc1.weight_grad, …
 */
export async function differentiate(
  model: Model,
  options: DifferentiateOptions,
  probe: Probe,
): Promise<GradientModel> {
  const prepared = await prepareGraph(model, options, probe);
  const { graph, emit } = prepared;
  const masks = replaceDropout(graph, emit, "as-is");
  const wrt = variablesOf(prepared, options);
  const loss = emitLoss(prepared, options, constantWeight(prepared, options));
  const arrivals = new Map<Node, Typed>();
  const gradients = backward(graph, { wrt, seeds: loss.seeds, rules, emit, arrivals });

  graph.outputs.length = 0;
  const total = nameOutput(graph, emit, loss.total, "loss");
  const names = new Map<string, string>();
  for (const parameter of wrt) {
    const { shape, type } = typed(parameter);
    const gradient = gradients.get(parameter) ?? emit.filled(0, shape, type);
    const output = nameOutput(graph, emit, gradient, `${parameter.name}_grad`);
    names.set(parameter.name, output.name);
  }
  graph.prune();
  if (options.recompute) tellRecomputed(recomputeActivations(graph, emit, arrivals), options);
  await checkWritten(graph, probe);
  return {
    model: Model.fromProto(graphToProto(graph)),
    loss: total.name,
    gradients: names,
    masks: new Map(masks.map(({ input, ratio }) => [input.name, ratio])),
  };
}

/** What the loss is differentiated with respect to. */
function variablesOf({ graph, parameters }: PreparedGraph, options: DifferentiateOptions): Value[] {
  const floats = graph.inputs.filter(({ type }) => isFloat(type));
  const inputs = floats.filter(({ name }) => options.wrtInputs?.test(name));
  const list = (values: readonly Value[]) => values.map(({ name }) => name).join(", ") || "none";
  if (options.wrtInputs && inputs.length === 0) {
    throw new UsageError(`no input of floats matches ${options.wrtInputs}; those inputs are ${list(floats)}`);
  }
  const { wrt } = options;
  const chosen = parameters.filter((value) => !wrt || matchesAny(wrt, namesOfValue(value)));
  if (chosen.length === 0 && inputs.length === 0) {
    throw new UsageError(
      `no parameter matches ${options.wrt ?? "anything"}; the parameters are ${list(parameters)}`,
    );
  }
  return [...chosen, ...inputs];
}
