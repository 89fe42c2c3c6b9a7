import type { Probe } from "../analysis/probe.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import { checkKnown } from "../known-options.ts";
import type { Model } from "../onnx/model.ts";
import { checkInitial } from "./check-initial.ts";
import { stepOptionNames } from "./option-names.ts";
import { inputName } from "./ports.ts";
import { lastPasses, type Step, type StepOptions, stepFacts } from "./step.ts";
import type { ParameterPort, StepPorts } from "./step-ports.ts";
import {
  dataPorts,
  nameFigures,
  nameStatistics,
  runningStatistics,
  type ShardOptions,
  type TrainingGradients,
  type TrainingOptions,
  trainingGradients,
} from "./training-gradients.ts";
import { averagePort, chosenOptimizer, inGroups, refuseApplied, scalarPorts } from "./update-options.ts";

/** A parameter of a split step. */
export interface SplitParameterPort extends ParameterPort {
  /** Output of the first graph and input of the second: ∂loss/∂parameter, in the parameter's shape. */
  readonly gradient: string;
}

/** A training step in two graphs, between which gradients can be exchanged. */
export interface SplitStep extends Omit<Step, "model" | "body" | "ports"> {
  /** Inputs: the step's but slots, `learning_rate` and `step`. Outputs: `loss`, `penalty`, `p.grad`, next statistics. */
  readonly gradients: Model;
  /** Inputs: parameters, `p.grad`, slots, `learning_rate`, `step`. Outputs: `p.next`, slots' next. */
  readonly update: Model;
  readonly ports: Omit<StepPorts, "parameters"> & { readonly parameters: readonly SplitParameterPort[] };
}

/** The first graph of a split step alone. */
export type GradientStep = Awaited<ReturnType<typeof buildGradientStep>>;

/** Writes a training step as two graphs: gradients, then update. `Library.buildSplitStep` documents it. */
export async function buildSplitStep(model: Model, options: StepOptions, probe: Probe): Promise<SplitStep> {
  checkKnown("buildSplitStep", options, stepOptionNames);
  const { graph: _, ...step } = await splitStep(model, options, probe);
  return step;
}

/** The same, with the graph of the gradients in memory; for a batch in shards it holds the operator of {@link Emit.overShards}. */
export async function splitStep(
  model: Model,
  options: StepOptions & ShardOptions,
  probe: Probe,
): Promise<SplitStep & { readonly graph: Graph }> {
  refuseApplied(options, "a step in two graphs (buildSplitStep, distribute)");
  const optimizer = await chosenOptimizer(options);
  const half = await trainingGradients(model, options, probe);
  const { trained: apart, groups } = await inGroups(half, options, optimizer);
  // The names as in an undivided step.
  const moved = options.movesMomentum ? ["momentum"] : [];
  const names = ["learning_rate", "step", ...groups.map(({ name }) => name), ...moved].map((name) =>
    inputName(half.program.graph, name),
  );
  const { ports, ...first } = await finishGradients(half, options);

  const { scaling } = half;
  const program = half.program.beside("update");
  const [learningRate, step, ...others] = names.map((name) => program.input(name, half.type, [])) as [
    ...[Typed, Typed],
    ...Typed[],
  ];
  const momentum = others[groups.length];
  const scalars = { learningRate, step, rates: others.slice(0, groups.length), momentum };
  const trained = apart.map(({ name, value: { type, shape }, matrix, group }, i) => {
    const port = ports.parameters[i] as (typeof ports.parameters)[number];
    return {
      name,
      value: program.input(port.input, type, shape),
      gradient: program.input(port.gradient, type, shape),
      ...{ matrix, group },
    };
  });
  const known = scaling?.inputIn(program);
  const whole = scaling?.around(optimizer) ?? optimizer;
  const updated = program.update(whole, trained, { ...scalars, ...known });
  if (momentum) (await import("./moved-momentum.ts")).checkMoved(momentum, optimizer);
  const figures = scaling?.figures(program, updated);
  return {
    ...first,
    graph: half.program.graph,
    update: await program.finish({
      passes: [(await import("../passes/cleanup/compute-once.ts")).computeOnce()],
      check: options.lower ? "structure" : "run",
    }),
    ports: {
      ...ports,
      ...updated,
      ...figures,
      ...averagePort(optimizer),
      parameters: updated.parameters.map((port, i) => ({
        ...port,
        gradient: trained[i]?.gradient.name ?? "",
      })),
      scalars: { ...ports.scalars, ...scalarPorts(scalars, groups) },
    },
  };
}

/** Writes the first graph of a split step alone. */
export const buildGradientStep = async (model: Model, options: TrainingOptions, probe: Probe) =>
  finishGradients(await trainingGradients(model, options, probe), options);

async function finishGradients(
  half: TrainingGradients,
  options: TrainingOptions & Pick<StepOptions, "lower"> & ShardOptions,
) {
  const { program, loss, trained, penaltyWeight, type, scaling } = half;
  const statistics = await runningStatistics(program, options.runningVariance, scaling);

  program.dropOutputs();
  const figures = nameFigures(program, loss);
  const parameters = trained.map(({ name, value, gradient }) => ({
    name,
    input: value.name,
    gradient: program.output(gradient, `${value.name}.grad`).name,
  }));
  const ports = {
    parameters,
    statistics: nameStatistics(program, statistics),
    ...dataPorts(half),
    scalars: { penaltyWeight, type },
    ...figures,
  };
  const gradients = await program.finish({
    passes: [...(await program.recomputation()), ...(await lastPasses(half, options.lower))],
    check: options.lower || half.half === "bfloat16" || options.shards ? "structure" : "run",
  });
  checkInitial(half.program.initial, statistics, options);
  return { ...stepFacts(half, ports), gradients, ports };
}
