import type { Command, Option } from "commander";
import { UsageError } from "../errors.ts";
import { keyOf, typedValues } from "./config/flags.ts";
import { positiveInteger, typedOptions } from "./options.ts";
import { declare, type TrainFlags } from "./train-call.ts";

/** The flags of `distribute`: those of `train`, and how the batch is shared. */
export interface DistributeFlags extends TrainFlags {
  readonly workers?: number;
  readonly exact?: true;
}

const byRunner = "is a flag of run.py, which trains: give it there";
const notYet = "is not distributed: train on one machine with sorth-onnx train";

type Reasons = Readonly<Record<string, string>>;

/** Flags of `train` without an effect on the numbers of a run, each with what to do instead. */
const idle: Reasons = {
  checkpoint: byRunner,
  otherData: byRunner,
  ortCheckpoint: notYet,
  seeds: "does several runs: write one folder for each --seed",
  report: "has no effect: workers write no report",
  stepsPerRun: "has no effect: workers exchange gradients after every step",
  allowFallback: "has no effect: workers say on which device they compute",
};

/** Flags that say what a run leaves at its end. */
const ofEnd: Reasons = {
  adapter: "belongs to the end of a run: sorth-onnx export RUN --adapter FILE",
  keepPenalty: "belongs to the end of a run: sorth-onnx export RUN --keep-penalty",
  tensorboard: "is not written by workers: run.jsonl in the run's folder has every figure",
};

const refused: Reasons = { ...idle, ...ofEnd, buckets: notYet };

/** Declares the argument and flags of `distribute`; help leaves out what it refuses. */
export function declareDistribute(command: Command): string[] {
  const names = declare(command);
  for (const option of command.options) {
    if (Object.hasOwn(refused, option.attributeName())) option.hideHelp();
    if (option.attributeName() === "output") {
      option.description = "folder to write (default: model.distributed in the folder of model.onnx)";
    }
    if (option.attributeName() === "resume") {
      option.description =
        "distribute the run of a checkpoint folder from where it stands; needs no other option";
    }
    if (option.attributeName() === "data") {
      option.description = `read data already now: tables, folders of images and texts, which are converted, and where the graphs depend on data (class weights, recovered BatchNorm); run.py reads its own --data`;
    }
  }
  command
    .option(
      "--workers <count>",
      "equal parts of the batch, so that as many processes, or fewer, can share it (default: 1)",
      positiveInteger,
    )
    .option(
      "--exact",
      "penalties on responses, and BatchNorm, see the joint batch; by default each part of the batch has its own",
    );
  return names;
}

/** @throws UsageError for flags that would have no effect */
export function checkDistributed(command: Command, { backend, data, exact, workers }: DistributeFlags): void {
  if (exact && (workers ?? 1) === 1) {
    throw new UsageError(
      "--exact changes nothing for one worker, which has the whole batch: give --workers, or leave it out",
    );
  }
  for (const option of command.options) {
    const name = option.attributeName();
    const reason = refused[name];
    if (reason !== undefined && command.getOptionValueSource(name) === "cli") {
      throw new UsageError(`${option.long} ${reason}`);
    }
  }
  if (backend === "webgpu") {
    throw new UsageError("--backend webgpu is not distributed: Python's ONNX Runtime has cpu and cuda");
  }
  if (data !== undefined) return;
  const needing = typedOptions(command, [
    ...["label", "columns", "missing", "standardize", "resize"],
    ...["tokenizer", "length", "text", "truncation"],
  ]);
  if (needing.length > 0) {
    throw new UsageError(
      `${needing.map(({ long }) => long).join(", ")}: give --data too, from which tables, images and texts are converted`,
    );
  }
}

/**
 * The same for the flags with which a resumed run was begun.
 * @returns what its workers leave out at the end
 */
export function checkTakenOver(command: Command, flags: DistributeFlags): string[] {
  const values: Readonly<Record<string, unknown>> = { ...flags };
  return command.options.flatMap((option) => {
    const name = option.attributeName();
    if (option.negate || values[name] === undefined || values[name] === false) return [];
    return ofEnd[name] === undefined ? [] : [`the run was begun with ${option.long}, which ${ofEnd[name]}`];
  });
}

/** Words that run.py gives itself, or that belong to this command alone. */
const own = ["output", "workers", "exact", "data", "resume", "epochs", "maxSteps", "validation"];

/** The words of `train` that repeat the run on one machine, but for its data and its length. */
export function wordsOfTraining(words: readonly string[]): string[] {
  const { operands, values } = typedValues(declareDistribute, words);
  const flags = [...values].flatMap(([option, texts]: readonly [Option, readonly string[] | true]) => {
    if (own.includes(option.attributeName())) return [];
    return texts === true ? [`--${keyOf(option)}`] : texts.map((text) => `--${keyOf(option)}=${text}`);
  });
  return [...operands, ...flags];
}
