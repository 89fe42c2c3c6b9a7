import { stat } from "node:fs/promises";
import { join } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { UsageError } from "../errors.ts";
import type { CheckpointKind, EndEvent, FitOptions } from "../index.ts";
import { notNegative } from "../numbers.ts";
import { fraction, given, numberIn, positiveInteger } from "./options.ts";

/** Flags that say how long a run goes on, and which of its checkpoints count. */
export interface FitFlags {
  readonly epochs: number;
  readonly maxSteps?: number;
  readonly validation?: number;
  readonly monitor?: string;
  readonly earlyStop?: number | false;
  readonly minimumChange?: number;
  readonly keep?: number;
  readonly from?: CheckpointKind;
  readonly otherData?: true;
  /** False after `--no-update-bn`. */
  readonly updateBn?: boolean;
}

/** Declares these flags. */
export function addFitFlags(command: Command): void {
  command
    .option("--epochs <count>", "passes over the data", positiveInteger, 1)
    .option(
      "--max-steps <count>",
      "stop after this number of steps, where the epochs do not end the run before",
      positiveInteger,
    )
    .option(
      "--validation <fraction>",
      "share of the data to hold out for validation (default: the validation part of the data, if any)",
      fraction,
    )
    .option(
      "--monitor <figure>",
      "the figure on the held-out samples that says which epochs are best: loss (default), accuracy, or one of --metrics",
    )
    .option(
      "--early-stop <epochs>",
      "end the run when the figure has not improved for this many epochs in a row",
      positiveInteger,
    )
    .option("--no-early-stop", "a resumed run no longer ends early")
    .option(
      "--minimum-change <number>",
      "--early-stop only counts an improvement that exceeds this (default: 0)",
      numberIn(notNegative),
    )
    .option(
      "--keep <count>",
      "keep the checkpoints of this many best epochs, as epoch-N.safetensors",
      positiveInteger,
    )
    .option(
      "--no-update-bn",
      "with --swa: leave BatchNorm the statistics of the weights in training (default: computed again for the averaged weights at the end)",
    );
  addFromFlag(
    command,
    "which weights the trained model gets: last (of the last step), best (of the best epoch), or epoch-N of a kept epoch; default: best with --early-stop, else last",
  );
}

/** Declares `--from`. */
export function addFromFlag(command: Command, description: string, standard?: CheckpointKind): void {
  command.option("--from <checkpoint>", description, checkpointKind, standard);
}

function checkpointKind(text: string): CheckpointKind {
  if (/^(best|last|epoch-[1-9]\d*)$/.test(text)) return text as CheckpointKind;
  throw new InvalidArgumentError("Give best, last, or epoch-N of an epoch that was kept.");
}

/** Which weights the trained model gets, as far as the flags say it. */
const fromOf = ({ from, earlyStop }: FitFlags): CheckpointKind => from ?? (earlyStop ? "best" : "last");

const isThere = async (folder: string, kind: CheckpointKind): Promise<boolean> =>
  (await stat(join(folder, `${kind}.safetensors`)).catch(() => undefined)) !== undefined;

/** Which weights the trained model of a finished run gets. With early stopping the best ones, unless no epoch was validated. */
export async function weightsFrom(flags: FitFlags, folder: string): Promise<CheckpointKind> {
  const from = fromOf(flags);
  return flags.from === undefined && !(await isThere(folder, from)) ? "last" : from;
}

/** The options of a fit that flags stand for; nothing for flags that were not given. @throws UsageError for flags without an effect */
export function fitOf({
  maxSteps,
  validation,
  monitor,
  earlyStop,
  minimumChange,
  keep,
}: FitFlags): FitOptions {
  if (minimumChange !== undefined && !earlyStop) {
    throw new UsageError("--minimum-change belongs to --early-stop: give the number of epochs too");
  }
  const stop = earlyStop ? { patience: earlyStop, ...given({ minimumChange }) } : earlyStop;
  return given({ maxSteps, validation, monitor, earlyStop: stop, keep });
}

/** A run's folder, and whether its data have a part for validation. */
interface HeldOut {
  readonly folder: string;
  readonly held: boolean;
  /** Whether their part for tests is evaluated at the end. */
  readonly tested: boolean;
  readonly isResumed: boolean;
}

/** @throws UsageError for flags that need held-out samples in a run without any */
export async function checkHeldOut(
  flags: FitFlags & { readonly metrics?: string },
  { folder, held, tested, isResumed }: HeldOut,
): Promise<void> {
  const from = flags.from ?? "last";
  const keeps = isResumed && (await isThere(folder, from));
  if (from.startsWith("epoch-") && flags.keep === undefined && !keeps) {
    throw new UsageError(`--from ${from} needs the checkpoints of single epochs: give --keep too`);
  }
  if (flags.validation !== undefined || held) return;
  const asked = [
    ...(flags.earlyStop ? ["--early-stop"] : []),
    ...(flags.keep === undefined ? [] : ["--keep"]),
    ...(flags.monitor === undefined ? [] : ["--monitor"]),
    ...(flags.metrics === undefined || tested ? [] : ["--metrics"]),
    ...(from === "best" && !keeps ? ["--from best"] : []),
  ];
  if (asked[0] === undefined) return;
  throw new UsageError(`${asked[0]} needs held-out samples: give --validation, as in --validation 0.1`);
}

/**
 * @param stepsOf - the step at which the run ends, as it was begun or with other epochs
 * @throws UsageError for the weights of an epoch that the run does not finish
 */
export function checkReaches(
  { from, maxSteps }: FitFlags,
  { steps }: { readonly steps: number },
  stepsOf: (fit: Pick<FitOptions, "epochs" | "maxSteps">) => number,
): void {
  const epoch = Number(/^epoch-(\d+)$/.exec(from ?? "")?.[1] ?? 0);
  if (epoch === 0) return;
  const [needed, last] = [stepsOf({ epochs: epoch, maxSteps: Number.MAX_SAFE_INTEGER }), stepsOf({})];
  if (needed <= Math.max(last, steps)) return;
  const bound = maxSteps === undefined ? "--epochs" : "--epochs and --max-steps";
  throw new UsageError(
    `--from ${from}: the run ends after step ${last}, and epoch ${epoch} would end with step ${needed}: raise ${bound}, or take the weights of an earlier epoch`,
  );
}

/** Says that a run ended early, and how it goes on. */
export function earlyText(flags: FitFlags, { epoch }: EndEvent, folder: string): string {
  const { earlyStop = 0, monitor = "loss" } = flags;
  const epochs = earlyStop === 1 ? "1 epoch" : `${earlyStop || "some"} epochs`;
  return `stopped: early, after epoch ${epoch}: the validation ${monitor} has not improved for ${epochs}; to go on all the same: sorth-onnx train --resume ${folder} --no-early-stop --force`;
}

/** Says which weights the trained model has. */
export function weightsText({ monitor = "loss" }: FitFlags, from: CheckpointKind, step: number): string {
  if (from !== "best") return `weights of step ${step}, after ${from.replace("-", " ")}`;
  return `weights of step ${step}, where the validation ${monitor} was ${monitor === "loss" ? "lowest" : "best"}`;
}
