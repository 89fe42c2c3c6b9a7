import type { Probe } from "../analysis/probe.ts";
import { rules } from "../autodiff/table.ts";
import { backward } from "../autodiff/walk.ts";
import { UsageError } from "../errors.ts";
import { typed } from "../graph/emit-base.ts";
import { graphToProto } from "../graph/proto.ts";
import { Model } from "../onnx/model.ts";
import { replaceDropout } from "./dropout.ts";
import { emitLoss, prepareGraph } from "./loss-graph.ts";
import type { LossOptions } from "./options.ts";
import { nameOutput } from "./ports.ts";

/** Options of {@link differentiate}. */
export interface DifferentiateOptions extends LossOptions {
  /** Only gradients of parameters whose name matches. */
  readonly wrt?: RegExp;
}

/** A gradient graph and what it computes. */
export interface GradientModel {
  /** Inputs as the model, `labels` with an objective, a mask per training-mode Dropout; outputs the loss, then gradients. */
  readonly model: Model;
  /** Name of the loss output. */
  readonly loss: string;
  /** Parameter name to the name of its gradient output. */
  readonly gradients: ReadonlyMap<string, string>;
  /** Mask input name to the ratio of its Dropout. */
  readonly masks: ReadonlyMap<string, number>;
}

/**
 * Writes the gradient of a model's loss as an ONNX graph of standard operators. Parameters stay initializers;
 * BatchNormalization and Dropout stay as the file has them. A parameter on which the loss does not depend gets zeros.
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
  const wrt = prepared.parameters.filter(({ name }) => options.wrt?.test(name) ?? true);
  if (wrt.length === 0) {
    const names = prepared.parameters.map(({ name }) => name).join(", ");
    throw new UsageError(
      `no parameter matches ${options.wrt ?? "anything"}; the parameters are ${names || "none"}`,
    );
  }
  const weight = prepared.penalties[0]?.weight ?? 1;
  const loss = emitLoss(prepared, options, (type) => (weight === 1 ? undefined : emit.scalar(weight, type)));
  const gradients = backward(graph, { wrt, seeds: loss.seeds, rules, emit });

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
  return {
    model: Model.fromProto(graphToProto(graph)),
    loss: total.name,
    gradients: names,
    masks: new Map(masks.map(({ input, ratio }) => [input.name, ratio])),
  };
}
