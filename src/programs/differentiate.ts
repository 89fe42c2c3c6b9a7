import { namesOfValue } from "../analysis/known-names.ts";
import { matchesAny } from "../analysis/name-patterns.ts";
import type { Probe } from "../analysis/probe.ts";
import { Readings } from "../analysis/readings.ts";
import { UsageError } from "../errors.ts";
import { typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import type { Model } from "../onnx/model.ts";
import { poolBeforeRelu } from "../passes/training/pool-before-relu.ts";
import { replaceDropout } from "../passes/training/replace-dropout.ts";
import type { LossOptions } from "./options.ts";
import { constantWeight } from "./penalty-graph.ts";
import { prepare } from "./prepare.ts";
import type { PreparedGraph } from "./prepared-graph.ts";

/** Options of {@link differentiate}. */
export interface DifferentiateOptions extends LossOptions {
  /** Only gradients of parameters whose name matches; if none matches, of other float initializers. */
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
  /** Maps the name of a parameter or requested input to the name of its gradient output. */
  readonly gradients: ReadonlyMap<string, string>;
  /** Maps the name of a mask input to the ratio of its Dropout. */
  readonly masks: ReadonlyMap<string, number>;
}

/** Writes the gradient of a loss as a graph. `Library.differentiate` documents it. */
export async function differentiate(
  model: Model,
  options: DifferentiateOptions,
  probe: Probe,
): Promise<GradientModel> {
  const { wrt: pattern } = options;
  // BatchNormalization and Dropout stay as the file has them.
  const program = await prepare(model, options, probe, {
    passes: [poolBeforeRelu()],
    ...(pattern && { keeps: (names) => matchesAny(pattern, names) }),
  });
  const masks = await program.run(replaceDropout({ mode: "as-is" }));
  const wrt = variablesOf(program.prepared, options);
  const loss = program.loss(constantWeight(program.prepared, options));
  const gradients = await program.gradients(loss, wrt);

  program.dropOutputs();
  const total = program.output(loss.total, "loss");
  const names = wrt.map((value) => {
    const { name, shape, type } = typed(value);
    const gradient = gradients.get(value) ?? program.emit.filled(0, shape, type);
    return [name, program.output(gradient, `${name}_grad`).name] as const;
  });
  return {
    model: await program.finish({ passes: await program.recomputation() }),
    loss: total.name,
    gradients: new Map(names),
    masks: new Map(masks.map(({ input, ratio }) => [input.name, ratio])),
  };
}

/** The values with respect to which the loss is differentiated. */
function variablesOf(
  { graph, parameters, constants }: PreparedGraph,
  options: DifferentiateOptions,
): Value[] {
  const floats = graph.inputs.filter(({ type }) => isFloat(type));
  const { wrt, wrtInputs } = options;
  const inputs = floats.filter(({ name }) => wrtInputs && matchesAny(wrtInputs, [name]));
  const list = (values: readonly Value[]) => values.map(({ name }) => name).join(", ") || "none";
  if (wrtInputs && inputs.length === 0) {
    throw new UsageError(`no input of floats matches ${wrtInputs}; those inputs are ${list(floats)}`);
  }
  if (!wrt) {
    if (parameters.length + inputs.length > 0) return [...parameters, ...inputs];
    throw new UsageError(
      `no initializer looks like a parameter; others are ${list(constants)}: name those that are variables (--wrt)`,
    );
  }
  const readings = new Readings(graph);
  const matching = (values: readonly Value[]) =>
    values.filter((value) => matchesAny(wrt, namesOfValue(value, readings)));
  const [chosen, others] = [matching(parameters), matching(constants)];
  if (chosen.length + others.length + inputs.length === 0) {
    throw new UsageError(
      `no parameter matches ${wrt}; the parameters are ${list(parameters)}, other initializers ${list(constants)}`,
    );
  }
  if (chosen.length === 0) return [...others, ...inputs];
  // A wide pattern means parameters; constants would be noise among them.
  if (others.length > 0) {
    options.onMessage?.(
      `${wrt} also matches ${list(others)}, not taken for parameters: name them alone, or add them (--trainable +PATTERN)`,
    );
  }
  return [...chosen, ...inputs];
}
