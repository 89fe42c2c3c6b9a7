import { type Command, Option } from "commander";
import { UsageError } from "../errors.ts";
import { seedNumber } from "../numbers.ts";
import type { TrainerOptions } from "../runtime/trainer-options.ts";
import type { DataFlags } from "./data-flags.ts";
import { addLossFlags, type LossFlags, lossOptionsOf } from "./loss-flags.ts";
import { addRateFlags, addUpdateFlags, type OptimizerFlags, optimizerOf } from "./optimizer-flags.ts";
import { fraction, given, numberIn, positiveInteger } from "./options.ts";
import { addOutputFlag, type OutputFlags } from "./output.ts";
import { addPenaltyFlags, checkBesideOwnPenalty, type PenaltyFlags, penaltiesOf } from "./penalty-flags.ts";
import type { SharedFlags } from "./terminal.ts";

/** Flags of every run, a resumed one too. */
export interface RunFlags extends SharedFlags, OutputFlags, DataFlags {
  readonly data?: string;
  readonly epochs: number;
  readonly maxSteps?: number;
  readonly validation?: number;
  readonly from: "best" | "last";
  readonly otherData?: true;
  readonly checkpoint?: string;
  readonly resume?: string;
  readonly ortCheckpoint?: string;
  readonly keepPenalty?: true;
  readonly json?: true;
  readonly report: boolean;
  readonly backend: string;
  readonly allowFallback?: true;
  readonly stepsPerRun?: number | "auto";
}

/** Flags that say how a model is trained: a resumed run keeps those it was begun with. */
export interface TrainingFlags extends LossFlags, PenaltyFlags, OptimizerFlags {
  readonly batchNorm?: "train" | "frozen";
  readonly runningVariance?: "onnx" | "torch";
  readonly seed?: number;
  readonly threads?: number;
}

/** Batch size of a model that leaves it open. */
export const defaultBatch = 64;

/** Declares the flags of every run. */
export function addRunFlags(command: Command): void {
  addOutputFlag(command, "trained", "where to write the trained model");
  command
    .option(
      "--data <source>",
      "mnist, or an .npz file: arrays named as the model's inputs (x for one), and labels y",
    )
    .option("--epochs <count>", "passes over the data", positiveInteger, 1)
    .option("--max-steps <count>", "stop after so many steps", positiveInteger)
    .option(
      "--validation <fraction>",
      "share of the data that is held out for validation (default: the part that the data bring along, if any)",
      fraction,
    )
    .addOption(
      new Option(
        "--from <checkpoint>",
        "weights of the trained model: after the last step, or where the validation loss was lowest",
      )
        .choices(["best", "last"])
        .default("last"),
    )
    .option(
      "--checkpoint <path>",
      "folder for checkpoints, run.jsonl and report.html (default: <output>.run); of a training_model.onnx, the checkpoint file to go on from (default: checkpoint, beside it)",
    )
    .option(
      "--ort-checkpoint <file>",
      "of a training_model.onnx: where to write a checkpoint that ONNX Runtime's own sessions go on from",
    )
    .option(
      "--resume <folder>",
      "go on with the run of a checkpoint folder, bit for bit; it needs no other option",
    )
    .option("--other-data", "let a resumed run go on with other data than it was begun with")
    .addOption(
      new Option("--backend <name>", "where to train").choices(["cpu", "cuda", "webgpu"]).default("cpu"),
    )
    .option("--allow-fallback", "run on the CPU what a GPU cannot run, and say what that is")
    .option(
      "--steps-per-run <count>",
      "steps that ONNX Runtime does in one run, the same numbers in less time; auto (default): about 50 ms",
      (text: string) => (text === "auto" ? text : positiveInteger(text)),
    )
    .option("--keep-penalty", "leave an injected model's penalty in the trained model")
    .option("--no-report", "no report.html, and no angles and gradients measured for it")
    .option("--json", "the figures at the end for machines");
}

/** Where a run is done. */
export const placementOf = ({ backend, allowFallback, stepsPerRun }: RunFlags) => ({
  backend,
  ...given({ allowFallback, stepsPerRun }),
});

/** Declares the flags that say how to train, and returns their names. */
export function addTrainingFlags(command: Command): string[] {
  const before = command.options.length;
  addStepFlags(command);
  addRateFlags(command);
  command
    .option("--seed <number>", "seed of the data's order and of Dropout (default: 0)", numberIn(seedNumber))
    .option("--threads <count>", "threads of ONNX Runtime (default: its own choice)", positiveInteger);
  return command.options.slice(before).map((option) => option.attributeName());
}

/** Declares those of them that a step graph holds. */
export function addStepFlags(command: Command): void {
  addLossFlags(command, `samples of a step, where the model leaves that open (default: ${defaultBatch})`);
  addPenaltyFlags(command);
  addUpdateFlags(command);
  command
    .addOption(
      new Option("--batch-norm <how>", "batch statistics, or the stored ones (default: train)").choices([
        "train",
        "frozen",
      ]),
    )
    .addOption(
      new Option("--running-variance <kind>", "biased as ONNX has it, or unbiased (default: onnx)").choices([
        "onnx",
        "torch",
      ]),
    );
}

/**
 * The library's options of these flags.
 * @param injected - the model has a penalty of its own: none is added unless one is asked for
 */
export function trainerOptions(
  flags: TrainingFlags,
  model: { injected: boolean; freeBatch: boolean },
): TrainerOptions {
  const { lr, schedule, penaltySchedule, batchNorm, runningVariance, seed, threads } = flags;
  const ownPenalty = model.injected && flags.penalty === undefined;
  if (ownPenalty) checkBesideOwnPenalty(flags, ["weight"]);
  const penalties = ownPenalty ? undefined : penaltiesOf(flags);
  if (penaltySchedule !== undefined && penalties?.length === 0) {
    throw new UsageError("there is no penalty whose weight --penalty-schedule could change; leave it out");
  }
  const objective = flags.objective ?? (flags.loss === undefined ? "cross-entropy" : undefined);
  return {
    ...(model.freeBatch && { batch: defaultBatch }),
    ...lossOptionsOf({ ...flags, ...given({ objective }) }),
    ...(penalties ? { penalties } : given({ penaltyWeight: flags.weight })),
    optimizer: optimizerOf(flags),
    ...given({ learningRate: lr, schedule, penaltySchedule, batchNorm, runningVariance, seed, threads }),
  };
}
