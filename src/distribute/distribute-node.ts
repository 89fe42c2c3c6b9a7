import { join } from "node:path";
import { checkText } from "../check-arguments.ts";
import { conversionOf, type DataConversion } from "../data/conversion.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Augmentation, AugmentedDataset } from "../data/images/augment.ts";
import type { SplitData } from "../data/split-data.ts";
import { UsageError } from "../errors.ts";
import { given } from "../given.ts";
import { checkKnown, checkOptions, type OptionNames } from "../known-options.ts";
import { checkNumber, count, notNegative, properShare } from "../numbers.ts";
import { checkModel } from "../onnx/check-model.ts";
import type { Model } from "../onnx/model.ts";
import { counted } from "../passes/pass.ts";
import { subjectOf } from "../penalties/applies.ts";
import { resolvePlans } from "../penalties/plan.ts";
import { dataRecord, recordOfObjective, withoutLoss } from "../runtime/data-record.ts";
import type { CheckpointKind } from "../runtime/events.ts";
import type { FitOptions } from "../runtime/fit-plan.ts";
import { nodeRuntime } from "../runtime/node.ts";
import { Trainer } from "../runtime/trainer.ts";
import type { TrainerOptions } from "../runtime/trainer-options.ts";
import { isObject } from "../what-is.ts";
import type { Contract } from "./contract.ts";
import { isReadByWorkers } from "./converted-data-node.ts";
import { writeDistribution } from "./write-node.ts";

/** How workers train, where the flags of run.py do not say it. */
export interface DistributedFit
  extends Pick<FitOptions, "epochs" | "maxSteps" | "monitor" | "keep" | "earlyStop"> {
  /** Share of the samples to hold out, 0 to 1. */
  readonly validation?: number;
  /** Which weights the trained model gets; default `best` with early stopping, else `last`. */
  readonly from?: CheckpointKind;
}

/** Options of {@link distribute}. */
export interface DistributeOptions {
  /** Folder to write. */
  readonly output: string;
  /** Equal parts into which the joint batch is cut; default 1. As many processes share the work, or fewer. */
  readonly workers?: number;
  /** Penalties on responses, BatchNormalization and weighted losses over the joint batch; default each part has its own. */
  readonly exact?: boolean;
  /**
   * The data, as `loadData` returns them. What workers cannot read by the name of the data (images, texts, arrays in memory)
   * is written beside the graphs. Without this option they read what the `--data` of run.py names: mnist or `.npz`.
   */
  readonly data?: SplitData | Dataset;
  /** What `data` were read from; default the name of the dataset. */
  readonly source?: string;
  readonly fit?: DistributedFit;
  /** Replaces files of a folder that is not empty. */
  readonly force?: boolean;
  /** Receives messages for the user. */
  readonly onMessage?: (message: string) => void;
}

/** What {@link distribute} wrote. */
export interface Distributed {
  readonly folder: string;
  readonly workers: number;
  /** Samples of the joint batch. */
  readonly batch: number;
  readonly exact: boolean;
  /** Whether the data were written as arrays: run.py then needs no `--data`. */
  readonly converted: boolean;
  /** Whether run.py writes the trained model (`-o`); if not, only `sorth-onnx export RUN` does. */
  readonly exports: boolean;
}

const optionNames = {
  ...{ output: "text", workers: true, exact: "flag", data: true, source: "text", fit: true },
  ...{ force: "flag", onMessage: "function" },
} as const satisfies OptionNames<DistributeOptions>;

/** What only the command line knows. */
interface CalledWith {
  /** How the run was asked for, as run.json keeps it. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Whether the statistics of BatchNorm are computed again for averaged weights when the run ends. */
  readonly updatesBatchNorm?: boolean;
  /** How data were converted that are not read now. */
  readonly conversion?: DataConversion | undefined;
  /** How images change that are not read now. */
  readonly augment?: Augmentation | undefined;
}

/**
 * Writes a run as files that several processes do together under PyTorch's torchrun, on one machine or many: gradients for a part of
 * the batch, update, evaluation, the first state, and the Python package that runs them (docs/distribute.md). The batch is the joint
 * one, and its losses are those of {@link Trainer.fit}. A trainer is distributed from where it stands.
 *
 * @param model - the model to train, with the options of a trainer; or a trainer, whose options are taken
 * @returns where and for how many processes
 * @throws UsageError for a batch that cannot be cut, for options that only JavaScript can follow (functions as schedules, metrics of your
 *   own), and for a folder with other files
 *
 * @example
 * import { crossEntropy, distribute, readModel, som } from "sorth-onnx";
 *
 * const model = await readModel("model.onnx");
 * const training = { objective: crossEntropy(), penalties: [som()], batch: 64 };
 * await distribute(model, { ...training, output: "shared", workers: 2, force: true, fit: { epochs: 3 } });
 * // torchrun --nproc-per-node 2 shared/run.py --data mnist --checkpoint run -o trained.onnx
 */
export function distribute(model: Model, options: DistributeOptions & TrainerOptions): Promise<Distributed>;
export function distribute(trainer: Trainer, options: DistributeOptions): Promise<Distributed>;
export async function distribute(
  subject: Model | Trainer,
  options: DistributeOptions & Partial<TrainerOptions>,
): Promise<Distributed> {
  checkOptions("distribute", options);
  checkText("output, the folder to write,", options.output);
  if (isObject(subject) && "readState" in subject) {
    checkKnown("distribute", options, optionNames);
    return distributeTrainer(subject, options);
  }
  checkModel(subject);
  const { output: _, workers, exact, data, source, fit, force, ...own } = options;
  const trainer = await Trainer.create(subject, own, nodeRuntime);
  try {
    return await distributeTrainer(trainer, options);
  } finally {
    await trainer.release();
  }
}

/** {@link distribute} for a trainer, with what only the command line knows. */
export async function distributeTrainer(
  trainer: Trainer,
  { output, data, fit = {}, force, workers, exact, onMessage = () => {}, ...options }: DistributeOptions,
  { settings, conversion, augment, updatesBatchNorm }: CalledWith = {},
): Promise<Distributed> {
  const parts = data && ("train" in data ? data : { train: data, test: undefined });
  const source = options.source ?? parts?.train.name ?? "";
  const record = parts ? dataRecord(parts, trainer) : recordWithoutData(trainer, conversion);
  const changes = parts ? (parts.train as AugmentedDataset).augmentation : augment;
  if (parts?.train.changing && !changes) {
    throw new UsageError(
      `${parts.train.name}: its samples change at random while training, and workers cannot repeat that: take the samples first (subset), and change them last (augmentedDataset)`,
    );
  }
  const isWritten = parts && !(await isReadByWorkers(source, parts.conversion));
  const contract = await writeDistribution(
    trainer,
    output,
    {
      ...given({ workers, exact, force, settings, updatesBatchNorm, conversion: record, augment: changes }),
      ...(parts && { samples: parts.train }),
      ...(isWritten && { data: { ...parts, source } }),
      fit: checkedFit(fit),
    },
    nodeRuntime,
  );
  for (const text of remarksOn(contract, output, looksAtResponses(trainer))) onMessage(text);
  const { shards, batch, data: ofData } = contract;
  const converted = ofData.converted !== null;
  const exports = contract.export.weights !== null;
  return { folder: output, workers: shards, batch, exact: contract.exact, converted, exports };
}

/** What the model keeps of its data where these are read later: how others were converted, and the loss of this run. */
function recordWithoutData(trainer: Trainer, known: DataConversion | undefined): DataConversion {
  const { summary, ...before } = withoutLoss(known ?? conversionOf(trainer.model));
  return { ...before, ...recordOfObjective(trainer), ...(known && given({ summary })) };
}

/** A fit as a contract holds it. @throws UsageError for numbers out of range */
function checkedFit({ earlyStop, ...fit }: DistributedFit): Readonly<Record<string, unknown>> {
  checkNumber("the number of epochs", fit.epochs, count);
  checkNumber("the number of steps", fit.maxSteps, count);
  checkNumber("the number of checkpoints to keep", fit.keep, count);
  if (fit.validation !== 0) {
    checkNumber("the share of the data for validation", fit.validation, properShare);
  }
  const stop = typeof earlyStop === "number" ? { patience: earlyStop } : earlyStop;
  if (stop) {
    checkNumber("the patience of early stopping", stop.patience, count);
    checkNumber("the minimum change of early stopping", stop.minimumChange, notNegative);
  }
  return { ...fit, ...(stop !== undefined && { earlyStop: stop }) };
}

/** Losses whose rows are pairs of samples. */
const comparesSamples: readonly string[] = ["contrastive", "info-nce", "triplet"];

/** Whether a loss is a mean over the rows that count, or a weighted one. */
const isWeighted = ({ objective, mask }: Contract["evaluation"]["terms"][number]): boolean => {
  const { classWeights = "none", ignoreIndex = "none" } = objective?.options ?? {};
  return mask !== null || classWeights !== "none" || ignoreIndex !== "none";
};

/** Whether penalties read responses: one of the run's, or one that was injected into its model. */
function looksAtResponses({ options: { penalties } }: Trainer): boolean {
  return (
    !penalties || resolvePlans(penalties).plans.some(({ penalty }) => subjectOf(penalty) === "responses")
  );
}

/** In which figures several processes differ from one, and what was converted. */
function remarksOn(
  { shards, exact, statistics, penalty, batch, evaluation: { terms }, data: { converted } }: Contract,
  folder: string,
  looks: boolean,
): string[] {
  const each = `each of the ${shards} parts of the batch has its own, over ${counted(batch / shards, "sample")}`;
  const differs = shards > 1 && !exact;
  const comparing = terms.find(({ objective }) => objective && comparesSamples.includes(objective.name));
  return [
    ...(differs && comparing
      ? [
          `${comparing.objective?.name}, which compares the samples of a batch: ${each}; one worker takes the joint batch`,
        ]
      : []),
    ...(differs && terms.some(isWeighted)
      ? [
          `means over what counts in the loss (masks, ignored labels, class weights): ${each}; --exact takes the joint batch`,
        ]
      : []),
    ...(differs && statistics.length > 0 ? [`BatchNorm: ${each}; --exact takes the joint batch`] : []),
    ...(differs && penalty !== null && looks
      ? [`penalties on responses: ${each}; --exact takes the joint batch`]
      : []),
    ...(converted
      ? [
          `data: ${counted(converted.train.size, "sample")} to train on, converted for this model: ${join(folder, "data")}, from which run.py reads them; without --data, or with the same`,
        ]
      : []),
  ];
}
