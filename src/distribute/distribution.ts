import { hasFreeBatch } from "../analysis/dimensions.ts";
import type { Probe } from "../analysis/probe.ts";
import { conversionOf, type DataConversion } from "../data/conversion.ts";
import type { Column, Dataset } from "../data/dataset.ts";
import type { Augmentation } from "../data/images/augment.ts";
import { chooseNormalization, type Normalization } from "../data/normalize.ts";
import { UsageError } from "../errors.ts";
import { given } from "../given.ts";
import { graphOf } from "../graph/model-graph.ts";
import { figureName, kindOf } from "../metrics/table.ts";
import { nameAndOptions, withoutHyphens } from "../name-and-options.ts";
import type { Model } from "../onnx/model.ts";
import { adamw } from "../optimizers/adamw.ts";
import { resolvePlans } from "../penalties/plan.ts";
import { buildEvaluation, type EvaluationGraph } from "../programs/evaluation.ts";
import { type SplitStep, splitStep } from "../programs/split-step.ts";
import type { StepOptions } from "../programs/step.ts";
import {
  batchAxisOfPort,
  batchOf,
  type DataPort,
  figureOutputs,
  type StatePort,
  type StepPorts,
  statePorts,
} from "../programs/step-ports.ts";
import { measureOf } from "../runtime/evaluator.ts";
import { figuresIn } from "../runtime/own-evaluation.ts";
import type { Trainer } from "../runtime/trainer.ts";
import type { TrainerRuntime } from "../runtime/trainer-runtime.ts";
import type { Schedule } from "../schedules/schedule.ts";
import {
  type Contract,
  type ContractMetrics,
  type ContractState,
  type ContractTerm,
  contractFormat,
  type NamedSchedule,
  type Stage,
} from "./contract.ts";
import { feedsOf } from "./contract-feeds.ts";
import { contractOfExport, exportTemplate } from "./export-template.ts";
import { inJointScale } from "./joint-scale.ts";
import { checkShards, refuseFunctions } from "./refusals.ts";
import { exactStages } from "./stages.ts";
import { statisticsGraph } from "./statistics-graph.ts";
import { updateParts } from "./update-parts.ts";

/** How a run is shared out. */
export interface SharingOptions {
  /** Equal parts into which the joint batch is cut; default 1. As many processes can share the work, or fewer. */
  readonly workers?: number;
  /** Penalties on responses, BatchNormalization and weighted losses over the joint batch; default each shard has its own. */
  readonly exact?: boolean;
  /** How to train, where the runner's flags do not say it: epochs, maxSteps, validation, monitor, keep, earlyStop, from. */
  readonly fit?: Readonly<Record<string, unknown>>;
  /** How the data are converted, where data were read. */
  readonly conversion?: DataConversion;
  /** The samples, whose labels decide on the losses of an evaluation beside a teacher; undefined where they come later. */
  readonly samples?: Dataset;
  /** Random changes of images while training. */
  readonly augment?: Augmentation;
  /** The folder of MNIST's files. */
  readonly mnist?: string;
  /** Computes the statistics of BatchNormalization again for averaged weights, when the run ends. */
  readonly updatesBatchNorm?: boolean;
  /** How the run was asked for. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

/** A run for several processes: what `contract.json` says, and the graphs by file name. */
interface Distribution {
  readonly contract: Contract;
  readonly files: ReadonlyMap<string, Model>;
}

/**
 * Writes the run that a trainer begins as graphs for one shard of its batch.
 * @throws UsageError for a batch that cannot be cut, and for options that processes cannot follow
 */
export async function distributionOf(
  trainer: Trainer,
  options: SharingOptions,
  { probe, backends }: Pick<TrainerRuntime, "probe" | "backends">,
): Promise<Distribution> {
  const { workers: shards = 1 } = options;
  const { options: run, model, step } = trainer;
  const batch = batchOf(step.ports);
  checkShards(batch, shards);
  refuseFunctions(run);
  if (shards > 1 && !hasFreeBatch(graphOf(model), run)) {
    throw new UsageError(
      `the model fixes its batch at ${batch} samples, so that ${shards} workers cannot share it: export it with a free batch dimension (a batch that --dim fixes: give --batch instead), or leave --workers out`,
    );
  }
  const backend = backends.find(({ name }) => name === trainer.backend);
  const lower = await backend?.lowering();
  const movesMomentum = step.ports.scalars.momentum !== undefined;
  const part = { movesMomentum, ...(shards > 1 && { batch: batch / shards }) };
  // What is said of the joint batch was said when the trainer was made.
  const isJoint = options.exact || shards === 1;
  const shard = {
    ...{ optimizer: adamw(), ...run, samplesFirst: true, ...part },
    ...(isJoint && { onMessage: () => {} }),
  };
  const { stages, ...split } = await stagesOf(model, { ...shard, ...(lower && { lower }) }, options, probe);
  const { ports } = split;
  checkSameState(step.ports, ports);
  const { teacher } = run;
  const taught = teacher && (await import("../runtime/taught.ts")).taughtRun(model, { ...run, teacher });
  // What the model draws while it is evaluated depends on the place in the batch.
  const draws = step.ports.draws.some(({ node }) => node !== undefined);
  const rows = draws ? batch : batch / shards;
  const measured = { ...(taught ? taught.evaluated(options.samples, run) : shard), ...part, batch: rows };
  const evaluation = await buildEvaluation(model, measured, ports, probe, lower);
  const measuredPorts = draws ? step.ports : ports;
  const joint = { optimizer: adamw(), ...run };
  const measuring = options.updatesBatchNorm
    ? await statisticsGraph(model, joint, step.ports, probe, lower)
    : undefined;
  const template = await exportTemplate(trainer);
  const exported = contractOfExport(template, exportFile);
  const parts = updateParts(split.update, ports.parameters, shards);
  const schedules = resolvePlans(run.penalties ?? []).plans.flatMap(({ label, schedule }) =>
    schedule === undefined ? [] : [[label, named(schedule)] as const],
  );
  const contract: Contract = {
    ...contractFormat,
    ...{ seed: run.seed ?? 0, batch, shards, backend: trainer.backend, threads: run.threads ?? null },
    ...{ exact: options.exact ?? false, learningRate: run.learningRate ?? 1e-3 },
    penaltyWeight: run.penaltyWeight ?? step.penaltyWeight,
    schedule: run.schedule === undefined ? null : named(run.schedule),
    penaltySchedule: run.penaltySchedule === undefined ? null : named(run.penaltySchedule),
    penaltySchedules: Object.fromEntries(schedules),
    fit: options.fit ?? {},
    feeds: feedsOf(ports, evaluation),
    data: {
      normalize: run.normalize ?? null,
      bytes: ofBytes(model, ports.inputs),
      mnist: options.mnist ?? null,
      conversion: options.conversion ?? conversionOf(model) ?? null,
      ...{ augment: options.augment ?? null, mixup: run.mixup ?? null, converted: null },
      taught: teacher ? (conversionOf(teacher)?.normalize ?? (conversionOf(teacher) ? "none" : null)) : null,
    },
    parameters: ports.parameters.map(({ slots, name, gradient, ...port }) => ({
      ...{ name, gradient, ...stateOf(port) },
      slots: Object.fromEntries([...slots].map(([slot, own]) => [slot, stateOf(own)])),
    })),
    shared: (ports.shared ?? []).map((port) => ({ name: port.name, ...stateOf(port) })),
    statistics: ports.statistics.map((port) => ({ name: port.name, ...stateOf(port) })),
    average: ports.average ?? null,
    masks: ports.masks.map(({ name, type, shape, ratio }, i) => {
      const whole = step.ports.masks[i]?.shape ?? [];
      return { name, type, shape: whole, ratio, cut: cutAxis(name, whole, shape, shards) };
    }),
    draws: ports.draws.map((draw, i) => {
      const { shape, of } = step.ports.draws[i] ?? draw;
      const cut = draw.of && of ? cutAxis(draw.name, of, draw.of, shards) : null;
      return { ...draw, shape, ...given({ of }), cut };
    }),
    scalars: ports.scalars,
    ...{ loss: ports.loss, penalty: ports.penalty ?? null, penalties: ports.penalties },
    ...{ losses: ports.losses ?? [], scaling: ports.scaling ?? null },
    stages: stages.map(({ model: _, ...stage }) => stage),
    update: { file: updateFile, parts: parts.map(({ file, parameters }) => ({ file, parameters })) },
    evaluation: {
      file: evaluationFile,
      terms: evaluation.terms.map(
        ({ name, weight, objective, prediction, labels, mask, output }): ContractTerm => ({
          ...{ name, weight, prediction: prediction ?? null, labels: labels ?? null },
          ...{ mask: mask ?? null, output: output ?? null },
          objective: objective ? { name: objective.name, options: objective.options } : null,
        }),
      ),
      loss: evaluation.loss ?? null,
      metrics: await metricsIn(evaluation, run.metrics, rows),
      figures: Object.fromEntries(await figuresIn(evaluation, run.metrics)),
      feeds: feedsOf(evaluation.data ?? measuredPorts, evaluation),
      state: stateInputs(evaluation.model, ports),
    },
    batchNorm: measuring
      ? {
          ...{
            file: statisticsFile,
            feeds: feedsOf(step.ports, evaluation),
            statistics: measuring.statistics,
          },
          state: stateInputs(measuring.model, step.ports),
        }
      : null,
    ...{ base: [], export: exported.contract },
    settings: options.settings ?? null,
  };
  const files = new Map([
    ...stages.map((stage) => [stage.file, stage.model] as const),
    [updateFile, split.update],
    [evaluationFile, evaluation.model],
    [exportFile, template.model],
    ...parts.map((part) => [part.file, part.model] as const),
    ...exported.graphs,
    ...(measuring ? [[statisticsFile, measuring.model] as const] : []),
  ]);
  return { contract, files };
}

const updateFile = "update.onnx";
const evaluationFile = "evaluation.onnx";
const exportFile = "model.onnx";
const statisticsFile = "statistics.onnx";

/** The metrics that workers compute. @throws UsageError for metrics that are not defined for the labels of any loss */
async function metricsIn(
  graph: EvaluationGraph,
  metrics: Trainer["options"]["metrics"] = [],
  batch: number,
): Promise<ContractMetrics | null> {
  if (metrics.length === 0) return null;
  const { term } = await measureOf(metrics, graph, batch);
  const { objective } = term;
  if (!objective) return null;
  return {
    ...{ term: graph.terms.indexOf(term), kind: kindOf(objective) },
    names: metrics.map(figureName),
  };
}

/** A checkpoint of the run is one of the undivided step, so that both must hold the same state. */
function checkSameState(
  joint: StepPorts,
  shard: Pick<StepPorts, "parameters" | "shared" | "statistics">,
): void {
  const names = (ports: typeof shard) => statePorts(ports).map(({ input }) => input);
  if (names(joint).join() !== names(shard).join()) {
    throw new UsageError(
      "the step of a shard holds another state than that of the joint batch; please report it",
    );
  }
}

/** The step of a shard, and its gradients in one graph or, exact over the joint batch, in several. */
async function stagesOf(
  model: Model,
  options: StepOptions,
  { workers: shards = 1, exact = false }: SharingOptions,
  probe: Probe,
): Promise<
  Omit<SplitStep, "gradients"> & { readonly stages: readonly (Stage & { readonly model: Model })[] }
> {
  if (exact) {
    const { stages, ...step } = await exactStages(model, options, { shards, probe });
    const named = stages.map((stage, i) => ({ ...stage, file: `gradients-${i + 1}.onnx` }));
    return { ...step, stages: inJointScale(named, step.ports, shards) };
  }
  const { gradients, graph: _, ...step } = await splitStep(model, options, probe);
  const plain = [{ ...plainStage(gradients, step.ports), model: gradients }];
  return { ...step, stages: inJointScale(plain, step.ports, shards) };
}

/** The plain form: each shard computes its gradients, and their mean is that of the joint batch. */
function plainStage(model: Model, ports: SplitStep["ports"]): Stage {
  const { scaling: _, ...figures } = ports;
  const outputs = [
    ...new Set([
      ...figureOutputs({ ...figures, parameters: ports.parameters } as StepPorts),
      ...ports.parameters.map(({ gradient }) => gradient),
      ...ports.statistics.map(({ output }) => output),
    ]),
  ];
  const inputs = (model.proto.graph?.input ?? []).map(({ name }) => name ?? "");
  return {
    ...{ file: "gradients.onnx", inputs, outputs },
    reduce: outputs.map((name) => ({ name, op: "mean" as const })),
  };
}

const stateOf = ({ input, output, type, shape, layout }: StatePort): ContractState => ({
  ...{ input, output, type, shape },
  ...(layout && { layout }),
});

/**
 * The axis along which random numbers of the joint batch are cut into those of the shards; null where all read the same.
 * @throws UsageError where the numbers of a shard are no part of those of the joint batch
 */
function cutAxis(
  name: string,
  whole: readonly number[],
  part: readonly number[],
  shards: number,
): number | null {
  const [axis, ...more] = part.flatMap((length, axis) => (length === whole[axis] ? [] : [axis]));
  if (axis === undefined && whole.length === part.length) return null;
  if (axis !== undefined && more.length === 0 && whole[axis] === (part[axis] ?? 0) * shards) return axis;
  throw new UsageError(
    `the random numbers "${name}" are [${whole.join(", ")}] for the joint batch and [${part.join(", ")}] for a part of it, so that workers cannot share them: leave --workers out`,
  );
}

/** A schedule's name and options; those with a unit stay texts. */
function named(schedule: string | Schedule): NamedSchedule {
  if (typeof schedule !== "string")
    throw new UsageError("a schedule that is a function cannot be distributed");
  const { name, options } = nameAndOptions(schedule);
  const values = [...options].map(([key, value]) => {
    const number = value.trim() === "" ? Number.NaN : Number(value);
    return [withoutHyphens(key), Number.isFinite(number) ? number : value] as const;
  });
  return { name, options: Object.fromEntries(values) };
}

/** How bytes are scaled for a model, unless it scales them itself. */
function ofBytes(model: Model, inputs: readonly DataPort[]): Normalization {
  const bytes: Column = {
    ...{ name: "x", type: "integer", shape: [1, 1], bytes: true, fill: () => {} },
    range: () => ({ least: 0, most: 255, whole: true }),
  };
  const ports = inputs.map((port) => ({ ...port, batchAxis: batchAxisOfPort(port) }));
  const graph = graphOf(model);
  const { normalize } = chooseNormalization(
    "the data",
    ports.map((port) => [port, bytes] as const),
    () => graph,
  );
  return normalize ?? "none";
}

/** The state that a graph reads. */
function stateInputs(
  model: Model,
  { parameters, statistics }: Pick<StepPorts, "parameters" | "statistics">,
): string[] {
  const names = new Set((model.proto.graph?.input ?? []).map(({ name }) => name));
  return [...parameters, ...statistics].map(({ input }) => input).filter((input) => names.has(input));
}
