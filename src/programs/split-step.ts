import type { Probe } from "../analysis/probe.ts";
import { Emit } from "../graph/emit.ts";
import { typed } from "../graph/emit-base.ts";
import { Graph } from "../graph/graph.ts";
import { graphOf, modelOf } from "../graph/model-graph.ts";
import { graphToProto } from "../graph/proto.ts";
import { Model } from "../onnx/model.ts";
import type { Optimizer } from "../optimizers/optimizer.ts";
import { buildStep, type ParameterPort, type Step, type StepOptions } from "./step.ts";
import { emitUpdates } from "./update.ts";

/** A parameter of a split step. */
export interface SplitParameterPort extends ParameterPort {
  /** Output of the first graph and input of the second: ∂loss/∂parameter, in the parameter's shape. */
  readonly gradient: string;
}

/** A training step in two graphs, between which gradients can be exchanged. */
export interface SplitStep extends Omit<Step, "model" | "ports"> {
  /** Inputs: the step's but slots, `learning_rate` and `step`. Outputs: `loss`, `penalty`, `p.grad`, next statistics. */
  readonly gradients: Model;
  /** Inputs: parameters, `p.grad`, slots, `learning_rate`, `step`. Outputs: `p.next`, slots' next. */
  readonly update: Model;
  readonly ports: Omit<Step["ports"], "parameters"> & { readonly parameters: readonly SplitParameterPort[] };
}

/**
 * Writes a training step as two graphs: gradients, then update. Between them a loop may average the gradients of several
 * workers, clip them or add up several batches. Running one after the other is the step of {@link buildStep}.
 *
 * @throws SorthError as buildStep does
 * @example
 * const { gradients, update, ports } = await buildSplitStep(model, { objective: crossEntropy(), optimizer: sgd(), batch: 32 });
 * ports.parameters.map(({ gradient }) => gradient); // ["fc1.weight.grad", …]
 */
export async function buildSplitStep(model: Model, options: StepOptions, probe: Probe): Promise<SplitStep> {
  const step = await buildStep(model, { ...options, optimizer: handOutGradient }, probe);
  const graph = graphOf(step.model);
  const { learningRate, step: number, type } = step.ports.scalars;
  for (const name of [learningRate, number]) graph.removeInput(graph.valueNamed(name));
  const gradients = new Map<string, string>();
  for (const { input, output } of step.ports.parameters) {
    const name = graph.freshName(`${input}.grad`);
    graph.rename(graph.valueNamed(output), name);
    gradients.set(input, name);
  }
  graph.metadata.clear();

  const opset = graph.opset;
  const update = new Graph("update", new Map([["", opset]]));
  const emit = new Emit(update, { prefix: "sorth/" });
  const rate = typed(update.addInput(learningRate, type, []));
  const count = typed(update.addInput(number, type, []));
  const trained = step.ports.parameters.map(({ name, input, type: kind, shape }) => ({
    name,
    value: typed(update.addInput(input, kind, shape)),
    gradient: typed(update.addInput(gradients.get(input) as string, kind, shape)),
  }));
  const parameters = emitUpdates(update, emit, options.optimizer, trained, {
    learningRate: rate,
    step: count,
  }).map((port): SplitParameterPort => ({ ...port, gradient: gradients.get(port.input) as string }));
  update.prune();
  return {
    ...step,
    gradients: modelOf(graph, step.model),
    update: Model.fromProto(graphToProto(update)),
    ports: { ...step.ports, parameters },
  };
}

/** Stands where an optimizer does, and returns the gradient in the place of the next parameter. */
const handOutGradient: Optimizer = {
  name: "gradient",
  options: {},
  slots: [],
  update: (_, { gradient }) => ({ parameter: gradient, slots: [] }),
  reference: ({ gradient }) => ({ parameter: [...gradient], slots: [] }),
};
