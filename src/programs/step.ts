import type { Probe } from "../analysis/probe.ts";
import type { SkippedSite } from "../analysis/site-types.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { packSmall } from "../optimizers/pack.ts";
import type { Pass } from "../passes/pass.ts";
import type { Schedule } from "../schedules/schedule.ts";
import type { UpdateOptions } from "./options.ts";
import { batchAxisOfPort, portsKey, portsToText, type StepPorts } from "./step-ports.ts";
import {
  dataPorts,
  nameFigures,
  nameStatistics,
  runningStatistics,
  type TrainingGradients,
  type TrainingOptions,
  trainingGradients,
} from "./training-gradients.ts";
import { averagePort, chosenOptimizer, inGroups, scalarPorts } from "./update-options.ts";

/** Options of {@link buildStep}. */
export interface StepOptions extends TrainingOptions, UpdateOptions {
  /** Whether the step is fed its momentum (SGD's, or Adam's β1) as a scalar input `momentum`, for schedules that move it. */
  readonly movesMomentum?: boolean;
}

/** A training step as an ONNX model, and the state to start from. */
export interface Step {
  readonly model: Model;
  /** In Loop form ({@link stepLoop}): the graph of one step, which is the loop's body. */
  readonly body?: Model;
  readonly ports: StepPorts;
  /** Initial numbers of every parameter and running statistic by its name in the model: views, not copies. */
  readonly initial: ReadonlyMap<string, Tensor>;
  /** Batch size of the graph; undefined if the model fixes all its dimensions and none is a batch. */
  readonly batch: number | undefined;
  /** Default penalty weight: the first weight above 0 among the penalties. */
  readonly penaltyWeight: number;
  /** Schedules of single penalties, by the names of {@link StepPorts.penalties}. */
  readonly penaltySchedules: ReadonlyMap<string, Schedule>;
  /** Names of the layers with a penalty. */
  readonly penalized: readonly string[];
  readonly skipped: readonly SkippedSite[];
}

/** Writes one training step as a graph. `Library.buildStep` documents it. */
export async function buildStep(model: Model, options: StepOptions, probe: Probe): Promise<Step> {
  const { checkInitial, checkStepNames } = await import("./check-initial.ts");
  checkStepNames(options);
  const { lower } = options;
  const given = await chosenOptimizer(options);
  const ownForm = lower !== undefined && given.treatment !== undefined;
  const half = await trainingGradients(model, options, probe, ownForm);
  const { program, loss, type, scaling } = half;
  const { trained, groups } = await inGroups(half, options, given);
  const optimizer = packSmall(scaling?.around(given) ?? given, lower?.packed ?? 0);
  const scalars = {
    learningRate: program.input("learning_rate", type, []),
    step: program.input("step", type, []),
    rates: groups.map(({ name }) => program.input(name, type, [])),
    momentum: options.movesMomentum ? program.input("momentum", type, []) : undefined,
  };
  const statistics = await runningStatistics(program, options.runningVariance, scaling);
  checkInitial(program.initial, statistics, options);

  program.dropOutputs();
  const figures = nameFigures(program, loss);
  const updated = program.update(optimizer, trained, { ...scalars, ...scaling?.known });
  if (scalars.momentum) (await import("./moved-momentum.ts")).checkMoved(scalars.momentum, given);
  const named = nameStatistics(program, statistics);

  const ports: StepPorts = {
    ...dataPorts(half),
    ...updated,
    statistics: named,
    ...averagePort(given),
    scalars: { ...scalarPorts(scalars, groups), penaltyWeight: half.penaltyWeight, type },
    ...figures,
    ...scaling?.figures(program, updated),
  };
  const written = await program.finish({
    passes: [...(await program.recomputation()), ...(await lastPasses(half, lower))],
    metadata: new Map([[portsKey, portsToText(ports)]]),
    // A trainer asks for a backend's forms, and opens the graph immediately.
    check: lower || half.half === "bfloat16" ? "structure" : "run",
  });
  graphs.set(written, program.graph);
  return { model: written, ports, ...stepFacts(half, ports) };
}

/** The last passes over a step: nothing is computed twice, and it gets the forms of its backend. */
export const lastPasses = async (
  { half }: TrainingGradients,
  lower: StepOptions["lower"],
): Promise<Pass<unknown>[]> => [
  ...(half && lower?.half ? [await lower.half()] : []),
  (await import("../passes/cleanup/compute-once.ts")).computeOnce(),
  ...(lower?.passes ?? []),
];

/** The graphs of written steps, for {@link takeGraph}. */
const graphs = new WeakMap<Model, Graph>();

/** The graph of a step as it was written, to look at; undefined once it was taken. */
export const writtenGraph = ({ model }: Pick<Step, "model">): Graph | undefined => graphs.get(model);

/** The graph of a step, which the caller may change: the first caller gets the written graph, later ones a copy. */
export function takeGraph({ model }: Step): Graph {
  const graph = graphs.get(model) ?? graphOf(model);
  graphs.delete(model);
  return graph;
}

/** The facts besides the ports that a training loop needs. */
export function stepFacts(
  { program, loss }: TrainingGradients,
  { inputs: [first] }: Pick<StepPorts, "inputs">,
): Omit<Step, "model" | "body" | "ports"> {
  const { batch, penalties, skipped } = program.prepared;
  return {
    initial: program.initial,
    batch: batch ?? first?.shape[batchAxisOfPort(first)],
    penaltyWeight: penalties.weight,
    penaltySchedules: new Map(
      loss.parts.flatMap(({ plan: { label, schedule } }) =>
        typeof schedule === "function" ? [[label, schedule] as const] : [],
      ),
    ),
    penalized: loss.penalized,
    skipped,
  };
}
