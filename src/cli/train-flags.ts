import { type Command, InvalidArgumentError, Option } from "commander";
import { dataKinds } from "../data/load-node.ts";
import { UsageError } from "../errors.ts";
import { seedNumber } from "../numbers.ts";
import type { PenaltyApplication, Precision } from "../programs/options.ts";
import { halfPrecision } from "../programs/precision.ts";
import type { TrainerOptions } from "../runtime/trainer-options.ts";
import { type AdapterFlags, addAdapterFlags, addAdapterOutput } from "./adapter-flags.ts";
import { addBatchNormFlag, type BatchNormFlag, batchNormOf } from "./batch-norm-flag.ts";
import { addClassFlag, type ClassFlags } from "./class-list.ts";
import type { TrainingDataFlags } from "./data-flags.ts";
import { addFitFlags, type FitFlags } from "./fit-flags.ts";
import { groupsOf } from "./group-flags.ts";
import {
  addLossFlags,
  addTeacherFlag,
  type LossFlags,
  lossOptionsOf,
  taughtObjective,
} from "./loss-flags.ts";
import { addMetricFlag, type MetricFlags } from "./metric-flags.ts";
import { addRateFlags, addUpdateFlags, type OptimizerFlags, optimizerOf } from "./optimizer-flags.ts";
import { given, numberIn, positiveInteger } from "./options.ts";
import { addOutputFlag, type OutputFlags } from "./output.ts";
import { addPartFlags, type PartFlags } from "./part-flags.ts";
import { addPenaltyFlags, checkBesideOwnPenalty, type PenaltyFlags, penaltiesOf } from "./penalty-flags.ts";
import { addPlacementFlags, type PlacementFlags } from "./placement-flags.ts";
import type { SharedFlags } from "./terminal.ts";

/** Flags of every run, also of a resumed one. */
export interface RunFlags extends SharedFlags, OutputFlags, TrainingDataFlags, FitFlags, PlacementFlags {
  readonly data?: string;
  readonly checkpoint?: string;
  readonly resume?: string;
  readonly ortCheckpoint?: string;
  readonly adapter?: string;
  readonly keepPenalty?: true;
  readonly json?: true;
  readonly report: boolean;
  readonly tensorboard?: string;
  readonly seeds?: readonly number[];
}

/** Flags that determine how a model is trained. A resumed run keeps those with which it was started. */
export interface TrainingFlags
  extends LossFlags,
    PenaltyFlags,
    OptimizerFlags,
    ClassFlags,
    AdapterFlags,
    PartFlags,
    MetricFlags,
    BatchNormFlag {
  readonly runningVariance?: "onnx" | "torch";
  readonly precision?: Precision;
  readonly apply?: PenaltyApplication;
  readonly share?: number;
  readonly seed?: number;
  readonly threads?: number;
}

/** Batch size for a model with an open batch dimension. */
export const defaultBatch = 64;

/** Declares the flags of every run. */
export function addRunFlags(command: Command): void {
  addOutputFlag(command, "trained", "where to write the trained model");
  command.option("--data <source>", `${dataKinds}; docs/data.md describes each`);
  addAdapterOutput(command);
  addFitFlags(command);
  command
    .option(
      "--checkpoint <path>",
      "folder for checkpoints, run.jsonl and report.html (default: <output>.run); for a training_model.onnx, the checkpoint file to continue from (default: the file checkpoint in its folder)",
    )
    .option(
      "--ort-checkpoint <file>",
      "for a training_model.onnx: also write a checkpoint from which ONNX Runtime's own training sessions can continue",
    )
    .option(
      "--resume <folder>",
      "continue the run of a checkpoint folder, bit for bit; needs no other option",
    )
    .option("--other-data", "allow a resumed run to continue with other data than before");
  addPlacementFlags(command);
  command
    .option("--keep-penalty", "keep an injected penalty in the trained model")
    .addOption(
      new Option(
        "--seeds <numbers>",
        "one run for each of these seeds (1,2,3), in folders seed-1 and so on, and a summary: mean and 95 % interval of every figure",
      )
        .argParser(seedList)
        .conflicts("seed"),
    )
    .option(
      "--tensorboard <folder>",
      "also write event files for TensorBoard: loss, penalties and learning rate of each step, figures of each epoch and of the test part",
    )
    .option("--no-report", "write no report.html and skip the measurements for it (angles, gradients)")
    .option("--json", "print the final figures as JSON");
}

/** Declares the flags that decide what of a model is trained: a fresh last layer, adapters, or some of its parameters. */
export function addTuningFlags(command: Command): void {
  addClassFlag(command, "replace the model's last layer by a fresh one with these classes");
  addAdapterFlags(command);
  addPartFlags(command);
}

/** Declares the flags that say how to train, and returns their names. */
export function addTrainingFlags(command: Command): string[] {
  const before = command.options.length;
  addTuningFlags(command);
  addStepFlags(command, { recovers: true });
  addRateFlags(command);
  addMetricFlag(command);
  addSeedFlags(command);
  return command.options.slice(before).map((option) => option.attributeName());
}

/** Declares the flags that decide on the bits of a run, besides what a step computes. */
export function addSeedFlags(command: Command): void {
  command
    .option(
      "--seed <number>",
      "seed for the order of the data and for Dropout (default: 0)",
      numberIn(seedNumber),
    )
    .option("--threads <count>", "threads of ONNX Runtime (default: ONNX Runtime decides)", positiveInteger);
}

/**
 * Declares the training flags that determine the graph of a step.
 * @param recovers - whether the command has data, from which a folded BatchNorm can be recovered
 */
export function addStepFlags(command: Command, { recovers = false } = {}): void {
  addLossFlags(
    command,
    `samples per step, if the model leaves the batch size open (default: ${defaultBatch})`,
  );
  addTeacherFlag(command);
  addPenaltyFlags(command);
  command.addOption(
    new Option(
      "--apply <how>",
      "how penalties reach the weights: loss: the optimizer sees them; decoupled: beside its update, times the learning rate; retraction: after its update, for penalties on weights (default: loss)",
    ).choices(["loss", "decoupled", "retraction"]),
  );
  addUpdateFlags(command);
  addBatchNormFlag(command, { recovers });
  command
    .addOption(
      new Option(
        "--running-variance <kind>",
        "running variance of BatchNorm: biased (onnx) or unbiased (torch); default: onnx",
      ).choices(["onnx", "torch"]),
    )
    .option(
      "--precision <name>",
      "float32 | mixed | mixed-float16 | mixed-bfloat16: products in half precision, weights and the rest in float32; mixed is float16 with a loss scale that adapts itself (default: float32)",
      precision,
    );
}

/**
 * The library's options for these flags.
 * @param model - whether the model has an injected penalty (then none is added), leaves its batch open, and has an injected loss
 */
export function trainerOptions(
  flags: TrainingFlags,
  model: { injected: boolean; freeBatch: boolean; hasLoss?: boolean },
): TrainerOptions {
  const { lr, schedule, penaltySchedule, runningVariance, seed, threads } = flags;
  const { precision, apply: applyPenalties, share: penaltyShare } = flags;
  if (model.injected) checkBesideOwnPenalty(flags, ["weight"]);
  const penalties = model.injected ? undefined : penaltiesOf(flags);
  if (penaltySchedule !== undefined && penalties?.length === 0) {
    throw new UsageError("--penalty-schedule needs a penalty, but this run has none; leave the flag out");
  }
  const standard = flags.teacher === undefined ? "cross-entropy" : taughtObjective;
  const hasLoss = flags.loss !== undefined || (model.hasLoss && flags.teacher === undefined);
  const objective = flags.objective ?? (hasLoss ? undefined : [standard]);
  return {
    ...(model.freeBatch && { batch: defaultBatch }),
    ...lossOptionsOf({ ...flags, ...given({ objective }) }),
    ...(penalties ? { penalties } : given({ penaltyWeight: flags.weight })),
    optimizer: optimizerOf(flags),
    ...groupsOf(flags),
    ...given({ learningRate: lr, schedule, penaltySchedule, runningVariance, seed, threads }),
    ...batchNormOf(flags),
    ...given({ precision, applyPenalties, penaltyShare }),
  };
}

function seedList(text: string): number[] {
  const seeds = text.split(",").map(numberIn(seedNumber));
  if (new Set(seeds).size === seeds.length) return seeds;
  throw new InvalidArgumentError("Give each seed once.");
}

/** Checks a precision and keeps it as text, so that a checkpoint can hold it. */
function precision(text: string): Precision {
  halfPrecision(text);
  return text as Precision;
}
