import { batchAxisOf, checkSamples } from "../analysis/dimensions.ts";
import { inputsBesideLayers } from "../analysis/label-inputs.ts";
import type { Probe } from "../analysis/probe.ts";
import type { SkippedSite } from "../analysis/site-types.ts";
import { rulesFor } from "../autodiff/rules-for.ts";
import { backward } from "../autodiff/walk.ts";
import { SorthError, UsageError } from "../errors.ts";
import { checkGraph } from "../graph/check.ts";
import type { Emit } from "../graph/emit.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import { modelOf } from "../graph/model-graph.ts";
import type { Node, Value } from "../graph/node.ts";
import type { Model } from "../onnx/model.ts";
import { elementCount, type Tensor } from "../onnx/tensor.ts";
import type { Optimizer } from "../optimizers/optimizer.ts";
import { type Pass, runPass } from "../passes/pass.ts";
import { batchNormStatistics, lowerBatchNorm, setBatchNormForm } from "../passes/training/batch-norm.ts";
import { replaceDropout } from "../passes/training/dropout.ts";
import { poolBeforeRelu } from "../passes/training/pool-before-relu.ts";
import { recomputeActivations } from "../passes/training/recompute.ts";
import { constantDraws } from "../penalties/build.ts";
import type { Draw } from "../penalties/draws.ts";
import type { ResolvedPlan } from "../penalties/plan.ts";
import type { Schedule } from "../schedules/schedules.ts";
import { checkWritten } from "./check-written.ts";
import { emitLoss, prepareGraph } from "./loss-graph.ts";
import type { LossOptions, TrainingFormOptions } from "./options.ts";
import { inputName, nameOutput } from "./ports.ts";
import {
  batchAxisOfPort,
  type DataPort,
  type DrawPort,
  type PenaltyPort,
  portsKey,
  portsToText,
  type StepPorts,
} from "./step-ports.ts";
import { emitUpdates, statePort } from "./update.ts";

export type {
  DataPort,
  DrawPort,
  ParameterPort,
  PenaltyPort,
  StatePort,
  StepPorts,
} from "./step-ports.ts";

/** Options of {@link buildStep}. */
export interface StepOptions extends LossOptions, TrainingFormOptions {
  readonly optimizer: Optimizer;
  /** Puts the finished graph into the forms that the backend which is to run it prefers (src/passes/backends). */
  readonly lower?: readonly Pass<unknown>[];
}

/** A training step as an ONNX model, and the state to start from. */
export interface Step {
  readonly model: Model;
  /** In Loop form ({@link stepLoop}): the graph of one step, which is the loop's body. */
  readonly body?: Model;
  readonly ports: StepPorts;
  /** Initial numbers of every parameter and running statistic by its name in the model: views, not copies. */
  readonly initial: ReadonlyMap<string, Tensor>;
  /** Batch size of the graph; undefined where the model fixes all its dimensions and none is a batch. */
  readonly batch: number | undefined;
  /** Default of the penalty weight: that of the first penalty that has one above 0. */
  readonly penaltyWeight: number;
  /** Schedules of single penalties, by the names of {@link StepPorts.penalties}. */
  readonly penaltySchedules: ReadonlyMap<string, string | Schedule>;
  /** Names of the layers with a penalty. */
  readonly penalized: readonly string[];
  readonly skipped: readonly SkippedSite[];
}

/**
 * Writes one training step as a graph of standard operators: forward, loss, penalty, gradients, optimizer.
 * Inputs: the model's, `labels`, each parameter p with its slots `p.m`, `p.v`, the scalars `learning_rate`, `step`
 * (from 1) and, with a penalty, `penalty_weight`. Outputs: `loss` (total), `penalty` (unweighted), `p.next`,
 * `p.m.next`, `p.v.next`. Frozen weights stay initializers. The batch is fixed.
 *
 * @throws SorthError when something between a parameter and the loss has no derivative, or a dimension is not known
 * @example
 * const step = await buildStep(model, { objective: crossEntropy(), optimizer: adamw(), penalties: [{ penalty: som() }], batch: 64 });
 * step.ports.parameters.map(({ name }) => name); // ["fc1.weight", "fc1.bias", …]
 */
export async function buildStep(model: Model, options: StepOptions, probe: Probe): Promise<Step> {
  const mode = options.batchNorm ?? "train";
  if (mode === "frozen" && options.runningVariance !== undefined) {
    throw new UsageError(
      "frozen BatchNormalization (--batch-norm frozen) has no running variance: leave runningVariance (--running-variance) out",
    );
  }
  const prepared = await prepareGraph(model, options, probe, [setBatchNormForm({ mode }), poolBeforeRelu()]);
  const { graph, emit } = prepared;
  const context = { emit, probe, onMessage: options.onMessage };
  checkSamples(graph);
  checkTrainable(prepared.parameters);
  const own = [...graph.inputs];
  const targets = options.loss === undefined ? [] : inputsBesideLayers(graph, prepared.parameters);
  const masks = await runPass(replaceDropout({ mode: "all" }), graph, context);
  const initial = new Map<string, Tensor>();
  const demote = (value: Value) => {
    initial.set(value.name, value.initializer as Tensor);
    graph.initializerToInput(value);
  };
  for (const parameter of prepared.parameters) demote(parameter);

  const scalarInput = (name: string, type: "float" | "double") =>
    typed(graph.addInput(inputName(graph, name), type, []));
  let weightInput: Value | undefined;
  const draws = drawInputs(graph, emit);
  const loss = emitLoss(prepared, options, {
    weight: (type) => {
      weightInput = scalarInput("penalty_weight", type);
      return typed(weightInput);
    },
    schedule: ({ label }, type) => scalarInput(`penalty_weight.${label}`, type),
    draw: draws.draw,
  });
  const scalarType = loss.total.type === "double" ? "double" : "float";
  const learningRate = scalarInput("learning_rate", scalarType);
  const step = scalarInput("step", scalarType);
  const arrivals = new Map<Node, Typed>();
  const gradients = backward(graph, {
    wrt: prepared.parameters,
    seeds: loss.seeds,
    rules: await rulesFor(graph),
    emit,
    arrivals,
  });

  for (const parameter of prepared.parameters) {
    if (gradients.has(parameter)) continue;
    graph.inputToInitializer(parameter, initial.get(parameter.name) as Tensor);
    initial.delete(parameter.name);
    options.onMessage?.(`${parameter.name}: not trained, the loss does not depend on it`);
  }
  if (gradients.size === 0) {
    throw new SorthError(
      "the loss depends on no trainable parameter; see sorth-onnx inspect, --trainable and --freeze",
    );
  }
  const running = batchNormStatistics(graph);
  checkTrainable(running.flatMap(({ mean, variance }) => [mean, variance]));
  for (const { mean, variance } of running) {
    demote(mean);
    demote(variance);
  }
  const statistics = await runPass(
    lowerBatchNorm({ running: options.runningVariance ?? "onnx" }),
    graph,
    context,
  );

  graph.outputs.length = 0;
  const lossOutput = nameOutput(graph, emit, loss.total, "loss");
  const penaltyOutput = loss.penalty && nameOutput(graph, emit, loss.penalty, "penalty");
  const penalties = loss.parts.map(({ plan, value, schedule }): PenaltyPort => {
    const alone = loss.parts.length === 1 && plan.factor === 1 && !schedule && penaltyOutput;
    const output = alone || nameOutput(graph, emit, value, `penalty.${plan.label}`);
    const { label: name, factor } = plan;
    return { name, output: output.name, factor, schedule: schedule?.name };
  });
  const trained = prepared.parameters.flatMap((value) => {
    const gradient = gradients.get(value);
    return gradient ? [{ name: value.name, value: typed(value), gradient }] : [];
  });
  const parameters = emitUpdates(graph, emit, options.optimizer, trained, { learningRate, step });
  const statisticsPorts = statistics.map(({ input, next }) => ({
    name: input.name,
    ...statePort(graph, emit, typed(input), next),
  }));
  graph.prune();
  for (const input of own) if (input.uses.size === 0) graph.removeInput(input);
  const read = own.filter((input) => graph.inputs.includes(input));
  const rows = (loss.labels ?? loss.prediction)?.shape?.[0];
  const inputs = read.map((input) => inputPort(input, rows));
  const ports: StepPorts = {
    inputs,
    labels: loss.labels && dataPort(loss.labels),
    ...(targets.length > 0 && { targets: targets.map(({ name }) => name) }),
    masks: masks.map(({ input, ratio }) => ({ ...dataPort(input), ratio })),
    draws: draws.ports,
    parameters,
    statistics: statisticsPorts,
    scalars: {
      learningRate: learningRate.name,
      step: step.name,
      penaltyWeight: weightInput?.name,
      type: scalarType,
    },
    loss: lossOutput.name,
    penalty: penaltyOutput?.name,
    penalties,
  };
  graph.prune();
  if (options.recompute) await runPass(recomputeActivations({ arrivals }), graph, context);
  for (const pass of options.lower ?? []) await runPass(pass, graph, context);
  graph.prune();
  // A trainer, which asks for a backend's forms, opens the graph at once.
  if (options.lower) checkGraph(graph);
  else await checkWritten(graph, probe);
  graph.metadata.clear();
  graph.metadata.set(portsKey, portsToText(ports));
  return {
    model: modelOf(graph, model),
    ports,
    initial,
    batch: prepared.batch ?? fixedBatch(graph, inputs),
    penaltyWeight: prepared.penalties.weight,
    penaltySchedules: new Map(
      loss.parts.flatMap(({ plan: { label, schedule } }) => (schedule ? [[label, schedule] as const] : [])),
    ),
    penalized: loss.penalized,
    skipped: prepared.skipped,
  };
}

/** @throws SorthError naming the parameters of a type in which updates would be lost to rounding */
function checkTrainable(parameters: readonly Value[]): void {
  const other = parameters.filter(({ type }) => type !== "float" && type !== "double");
  const [first, second] = other;
  if (!first) return;
  const names = second ? `"${first.name}" and ${other.length - 1} more` : `"${first.name}"`;
  throw new SorthError(
    `training needs float or double parameters, not ${first.type} (${names}): convert the model to float32, or freeze them (--freeze)`,
  );
}

/** Inputs for random numbers; those that are never drawn anew are constants. Equal ones are one input. */
function drawInputs(
  graph: Graph,
  emit: Emit,
): { draw: (draw: Draw, plan: ResolvedPlan) => Typed; ports: DrawPort[] } {
  const ports: DrawPort[] = [];
  const constant = constantDraws(emit);
  const input = ({ distribution, shape, seed, anew }: Draw): Typed => {
    if (anew === "never") throw new RangeError("a draw that is never made anew is a constant");
    const name = inputName(graph, `random.${distribution}.${shape.join("x")}`);
    const value = graph.addInput(name, "float", shape);
    ports.push({ ...dataPort(value), shape, distribution, anew, seed });
    return typed(value);
  };
  const draw = (wanted: Draw, plan: ResolvedPlan): Typed =>
    wanted.anew === "never"
      ? constant(wanted, plan)
      : emit.once(`drawn ${JSON.stringify(wanted)}`, () => input(wanted));
  return { draw, ports };
}

function dataPort(value: Value): DataPort {
  const { name, type, shape } = typed(value);
  return { name, type, shape };
}

/** An input of the model, with the axis that counts the samples where that is not the first. */
function inputPort(value: Value, rows: number | undefined): DataPort {
  const port = dataPort(value);
  const batchAxis = batchAxisOf(value, port.shape, rows);
  return { ...port, ...(batchAxis > 0 && { batchAxis }) };
}

/** The batch of a model that fixes it. */
function fixedBatch(graph: Graph, inputs: readonly DataPort[]): number | undefined {
  const [first] = inputs;
  if (!first || elementCount(first.shape) === 0 || graph.inputs.length === 0) return undefined;
  return first.shape[batchAxisOfPort(first)];
}
