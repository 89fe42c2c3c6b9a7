import type { Probe } from "../analysis/probe.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import type { Shape } from "../graph/shapes.ts";
import type { Objective } from "../losses/objective.ts";
import { choosePrediction } from "../losses/prediction.ts";
import type { Model } from "../onnx/model.ts";
import type { Lowering } from "../passes/backends/table.ts";
import { setBatchNormForm } from "../passes/training/batch-norm.ts";
import { poolBeforeRelu } from "../passes/training/pool-before-relu.ts";
import { replaceDropout } from "../passes/training/replace-dropout.ts";
import type { StateLayout } from "../passes/training/store-as-read.ts";
import type { LossOptions } from "./options.ts";
import { type PrepareOptions, prepare } from "./prepare.ts";
import type { Program } from "./program.ts";
import type { StepPorts } from "./step-ports.ts";

/** A model's inference form with its parameters as inputs. */
export interface EvaluationGraph {
  readonly model: Model;
  /** Counts figures on {@link prediction}; undefined for a model that holds its loss in a form that is not recognized. */
  readonly objective: Objective | undefined;
  /** Output that the objective reads, and its shape. */
  readonly prediction: { readonly name: string; readonly shape: readonly number[] } | undefined;
  /** Input of the labels that the objective of a model's own loss reads. */
  readonly labels: string | undefined;
  /** Output that is the loss of the whole batch; undefined if the objective computes it sample by sample. */
  readonly loss: string | undefined;
}

/** Reads a model in inference form: stored statistics, no Dropout. Makes no remarks, because training has already made them. */
export async function inferenceForm(
  model: Model,
  options: LossOptions,
  probe: Probe,
  how: Pick<PrepareOptions, "taken" | "masters"> = {},
): Promise<Program> {
  const passes = [setBatchNormForm({ mode: "frozen" }), poolBeforeRelu()];
  const program = await prepare(model, { ...options, onMessage: () => {} }, probe, { passes, ...how });
  await program.run(replaceDropout({ mode: "none" }));
  return program;
}

/**
 * Writes the inference form of a model for evaluation while it is trained: stored statistics, no Dropout, no penalty,
 * parameters and statistics as inputs under the names that the step graph gives them, and in the form that the ports name.
 */
export async function buildEvaluation(
  model: Model,
  options: LossOptions,
  ports: Pick<StepPorts, "parameters" | "statistics">,
  probe: Probe,
  lower?: Lowering,
): Promise<EvaluationGraph> {
  const program = await inferenceForm(model, options, probe, { masters: true });
  const { graph } = program;
  for (const port of [...ports.parameters, ...ports.statistics]) {
    const value = graph.value(port.input);
    if (!value?.initializer) continue;
    program.feed(value);
    if (port.layout) readInModelForm(program, value, port.shape, port.layout);
  }
  const { objective, prediction, labels, loss } = measured(program, options);
  program.dropOutputs();
  const total = loss && program.output(loss, "loss").name;
  if (prediction && !graph.outputs.includes(prediction)) graph.addOutput(prediction);
  return {
    // A session opens the graph at once.
    model: await program.finish({ passes: lower?.passes ?? [], check: "structure" }),
    objective,
    prediction: prediction && { name: prediction.name, shape: typed(prediction).shape },
    labels: labels?.name,
    loss: total,
  };
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

/** The values to evaluate: those that an objective reads, or the model's own loss. */
function measured(
  program: Program,
  { objective, output }: LossOptions,
): {
  readonly objective?: Objective | undefined;
  readonly prediction?: Value | undefined;
  readonly labels?: Value | undefined;
  readonly loss?: Typed | undefined;
} {
  if (objective) return { objective, prediction: choosePrediction(program.graph, objective, output).value };
  const { own, dataLoss } = program.dataLoss();
  return { ...own, loss: own?.isLoss ? undefined : dataLoss };
}
