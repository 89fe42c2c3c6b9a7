import { hasAdapters } from "../analysis/adapter-names.ts";
import { isTrainingForm } from "../analysis/batch-norm-form.ts";
import { batchAxisOf, checkSamples } from "../analysis/dimensions.ts";
import { drawsNumbers } from "../analysis/drawing-operators.ts";
import { inputsBesideLayers } from "../analysis/label-inputs.ts";
import type { Probe } from "../analysis/probe.ts";
import { SorthError, UsageError } from "../errors.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import { checkChoice } from "../known-options.ts";
import type { Model } from "../onnx/model.ts";
import type { Lowering } from "../passes/backends/table.ts";
import type { Pass } from "../passes/pass.ts";
import { batchNormStatistics, type NextStatistic, setBatchNormForm } from "../passes/training/batch-norm.ts";
import { poolBeforeRelu } from "../passes/training/pool-before-relu.ts";
import type { DropoutMask } from "../passes/training/replace-dropout.ts";
import { constantDraws } from "../penalties/build.ts";
import type { Draw } from "../penalties/draws.ts";
import { dropoutMasks } from "./dropout-masks.ts";
import type { LossGraph } from "./loss-graph.ts";
import type { LossScaling } from "./loss-scaling.ts";
import type { LossOptions, PrecisionOptions, TrainingFormOptions, UpdateOptions } from "./options.ts";
import type { PenaltyInputs } from "./penalty-graph.ts";
import { prepare, withLoss } from "./prepare.ts";
import type { Program } from "./program.ts";
import type { DataPort, DrawPort, PenaltyPort, StatePort, StepPorts } from "./step-ports.ts";
import type { TrainedParameter } from "./update.ts";

/** Options of {@link trainingGradients}. */
export interface TrainingOptions extends LossOptions, TrainingFormOptions, PrecisionOptions {
  /**
   * Brings the program into the forms that the backend that will run it prefers (src/passes/backends). A step then also holds
   * weights in the form in which its nodes read them ({@link StatePort.layout}), if the optimizer permits it
   * ({@link GradientTransformation.treatment}). Default: none, and every weight has the model's form.
   */
  readonly lower?: Lowering;
  /**
   * Losses read scores that count their samples on another axis than the first, as [time, samples, classes], with the samples first;
   * labels are [samples, time]. A trainer, whose labels come from a dataset, always asks for it. Default false: labels have the order
   * of the scores.
   */
  readonly samplesFirst?: boolean;
}

/** Number of shards into which the joint batch is cut; a graph computes one of them. Default 1. */
export interface ShardOptions {
  readonly shards?: number;
}

/** The first half of a training step: a program up to its gradients. */
export interface TrainingGradients {
  readonly program: Program;
  readonly loss: LossGraph;
  /** The type in which products are computed, if it is not float32. */
  readonly half: "float16" | "bfloat16" | undefined;
  /** The scale of the loss, for float16. */
  readonly scaling: LossScaling | undefined;
  /** The type of the scalars that the step is fed. */
  readonly type: "float" | "double";
  /** The parameters with their gradients. */
  readonly trained: readonly TrainedParameter[];
  /** The model's own inputs. */
  readonly inputs: readonly Value[];
  /** Names of those that take labels. */
  readonly targets: readonly string[];
  readonly masks: readonly DropoutMask[];
  readonly draws: readonly DrawPort[];
  /** The input `penalty_weight`; undefined without a penalty. */
  readonly penaltyWeight: string | undefined;
}

/**
 * The passes that bring a model into the form for training. Beside adapters the base keeps its statistics by default.
 * @throws UsageError for a form that is none, and for an option that would have no effect
 */
export function trainingForm(
  model: Model,
  { batchNorm: mode = hasAdapters(model) ? "frozen" : "train", runningVariance }: TrainingFormOptions,
): Pass<unknown>[] {
  checkChoice("batchNorm (--batch-norm)", mode, ["train", "frozen"]);
  checkChoice("runningVariance (--running-variance)", runningVariance, ["onnx", "torch"]);
  if (mode === "frozen" && runningVariance !== undefined) {
    throw new UsageError(
      "frozen BatchNormalization (--batch-norm frozen) has no running variance: leave runningVariance (--running-variance) out",
    );
  }
  return [setBatchNormForm({ mode }), poolBeforeRelu()];
}

/**
 * Writes the first half of a training step: everything that changes from step to step is an input (data, labels, masks,
 * draws, weights, the penalty weight), and the gradients of all parameters are computed.
 *
 * @param ownForm - whether weights may be fed in another form than the model's: the one in which they are read
 */
export async function trainingGradients(
  model: Model,
  given: TrainingOptions & Pick<UpdateOptions, "groups" | "noDecay" | "applyPenalties"> & ShardOptions,
  probe: Probe,
  ownForm = false,
): Promise<TrainingGradients> {
  const options = await withLoss(model, given);
  const passes = trainingForm(model, options);
  const precision =
    options.precision === undefined
      ? undefined
      : (await import("./precision.ts")).halfPrecision(options.precision);
  const program = await prepare(model, options, probe, {
    ...{ passes, masters: true, describes: setsApart(options), shards: options.shards ?? 1 },
    ...(options.lower?.channelBlock && { channelBlock: options.lower.channelBlock }),
  });
  const { graph } = program;
  const { parameters } = program.prepared;
  checkSamples(graph);
  checkTrainable(parameters);
  await (await import("./check-form.ts")).checkForm(program, options);
  const inputs = [...graph.inputs];
  const targets = options.loss === undefined ? [] : inputsBesideLayers(graph, parameters);
  // The caller of the step feeds masks and weights, so that a run can be repeated bit for bit.
  const masks = await dropoutMasks(program, "all");
  const draws = graph.nodes.some(drawsNumbers)
    ? await (await import("./model-draws.ts")).fedDraws(program, options.onMessage)
    : [];
  // The graph of a GPU, on the CPU too: it has no layout of rows.
  if (precision)
    await program.computeInHalf(
      precision.type,
      masks.map(({ input }) => input),
    );
  else if (options.lower?.layout) await program.layOut(options.lower.layout);
  if (graph.nodes.some(({ op }) => /^LSTM|^GRU|^RNN/.test(op)))
    await program.run((await import("../passes/training/read-final-state.ts")).readFinalState());
  for (const parameter of parameters) program.feed(parameter);
  const fed = fedPenalties(program);
  const loss = program.loss(fed.inputs);
  if (ownForm) await program.storeAsRead(loss);
  const scaling = precision && (await import("./loss-scaling.ts")).lossScaling(program, loss, precision);
  const { applyPenalties: how = "loss" } = options;
  const trained =
    how === "loss"
      ? program.trained(await program.gradients(scaling?.scaled(loss) ?? loss, parameters))
      : await (await import("./applied-penalties.ts")).trainedApart(
          program,
          loss,
          { ...options, how },
          scaling || undefined,
        );
  return {
    program,
    loss,
    half: precision ? precision.type : undefined,
    scaling: scaling || undefined,
    type: loss.total.type === "double" ? "double" : "float",
    trained,
    inputs: [...new Set([...inputs, ...loss.targets])],
    targets: [...targets, ...loss.targets].map(({ name }) => name),
    masks,
    draws: [...fed.draws, ...draws],
    penaltyWeight: fed.weight(),
  };
}

/** Whether options set parameters apart. */
export const setsApart = ({
  groups = [],
  noDecay = false,
}: Pick<UpdateOptions, "groups" | "noDecay">): boolean => groups.length > 0 || noDecay;

/** Feeds the running statistics, and writes BatchNormalization out in standard operators. */
export async function runningStatistics(
  program: Program,
  running: TrainingFormOptions["runningVariance"] = "onnx",
  scaling?: LossScaling,
): Promise<NextStatistic[]> {
  const stored = batchNormStatistics(program.graph).flatMap(({ mean, variance }) => [mean, variance]);
  checkTrainable(stored);
  for (const statistic of stored) program.feed(statistic);
  if (!program.graph.nodes.some(isTrainingForm)) return [];
  // A page that trains a model without BatchNormalization does not load it.
  const { lowerBatchNorm } = await import("../passes/training/lower-batch-norm.ts");
  const statistics = await program.run(lowerBatchNorm({ running }));
  return scaling ? scaling.finite(statistics) : statistics;
}

/** Names the outputs that are figures of a step: loss, R, and each penalty that R is made of. */
export function nameFigures(
  program: Program,
  { total, penalty: sum, parts, terms }: LossGraph,
): Pick<StepPorts, "loss" | "penalty" | "penalties" | "losses"> {
  const loss = program.output(total, "loss").name;
  const penalty = sum && program.output(sum, "penalty").name;
  const penalties = parts.map(({ plan, value, schedule }): PenaltyPort => {
    const { label: name, factor } = plan;
    const alone = parts.length === 1 && factor === 1 && !schedule && penalty;
    const output = alone || program.output(value, `penalty.${name}`).name;
    return { name, output, factor, schedule: schedule?.name };
  });
  if (terms.length < 2) return { loss, penalty, penalties };
  const losses = terms.map(({ term: { name, weight }, value }) => ({
    ...{ name, weight, output: program.output(value, `loss.${name}`).name },
  }));
  return { loss, penalty, penalties, losses };
}

/** Makes the next values of running statistics outputs. */
export const nameStatistics = (
  program: Program,
  statistics: readonly NextStatistic[],
): (StatePort & { readonly name: string })[] =>
  statistics.map(({ input, next }) => ({ name: input.name, ...program.state(typed(input), next) }));

/** The ports of the values that are fed at each step. Removes inputs of the model that nothing reads any more. */
export function dataPorts({
  program: { graph },
  loss,
  inputs,
  targets,
  masks,
  draws,
}: TrainingGradients): Pick<StepPorts, "inputs" | "labels" | "targets" | "masks" | "draws"> {
  graph.prune();
  for (const input of inputs) if (input.uses.size === 0) graph.removeInput(input);
  const rows = (loss.labels ?? loss.prediction)?.shape?.[0];
  return {
    inputs: inputs.filter((input) => graph.inputs.includes(input)).map((input) => inputPort(input, rows)),
    labels: loss.labels && { ...dataPort(loss.labels), ...(loss.ownLabels && { own: loss.ownLabels }) },
    ...(targets.length > 0 && { targets }),
    masks: masks.map(({ input, ratio }) => ({ ...dataPort(input), ratio })),
    draws,
  };
}

/** @throws SorthError naming the parameters whose type would lose updates to rounding */
function checkTrainable(parameters: readonly Value[]): void {
  const other = parameters.filter(({ type }) => type !== "float" && type !== "double");
  const [first, second] = other;
  if (!first) return;
  const names = second ? `"${first.name}" and ${other.length - 1} more` : `"${first.name}"`;
  throw new SorthError(
    `training needs float or double parameters, not ${first.type} (${names}): convert the model to float32, or freeze them (--freeze)`,
  );
}

/** Inputs for the weight, the schedules and the random numbers of penalties. */
function fedPenalties(program: Program): {
  inputs: PenaltyInputs;
  draws: DrawPort[];
  weight: () => string | undefined;
} {
  let weight: string | undefined;
  const draws: DrawPort[] = [];
  const constant = constantDraws(program.emit);
  const drawInput = ({ distribution, shape, seed, anew }: Draw): Typed => {
    if (anew === "never") throw new RangeError("a draw that is never made anew is a constant");
    const value = program.input(`random.${distribution}.${shape.join("x")}`, "float", shape);
    draws.push({ ...dataPort(value), shape, distribution, anew, seed });
    return value;
  };
  const inputs: PenaltyInputs = {
    weight: (type) => {
      const input = program.input("penalty_weight", type, []);
      weight = input.name;
      return input;
    },
    schedule: ({ label }, type) => program.input(`penalty_weight.${label}`, type, []),
    // Equal draws are one input; those that are never drawn again are constants.
    draw: (wanted, plan) =>
      wanted.anew === "never"
        ? constant(wanted, plan)
        : program.emit.once(`drawn ${JSON.stringify(wanted)}`, () => drawInput(wanted)),
  };
  return { inputs, draws, weight: () => weight };
}

export function dataPort(value: Value): DataPort {
  const { name, type, shape } = typed(value);
  return { name, type, shape };
}

/** An input of the model, with the axis that counts the samples where that is not the first. */
export function inputPort(value: Value, rows: number | undefined): DataPort {
  const port = dataPort(value);
  const batchAxis = batchAxisOf(value, port.shape, rows);
  return { ...port, ...(batchAxis > 0 && { batchAxis }) };
}
