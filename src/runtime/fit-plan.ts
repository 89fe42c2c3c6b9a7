import { splitValidation, stepsPerEpoch } from "../data/batches.ts";
import { checkDataset } from "../data/check-dataset.ts";
import { type DataIdentity, identityOf } from "../data/checksum.ts";
import type { Dataset } from "../data/dataset.ts";
import { given } from "../given.ts";
import { checkOptions } from "../known-options.ts";
import { checkNumber, count, properShare } from "../numbers.ts";
import type { TrainingCallback } from "./callbacks.ts";

/** Options of {@link Trainer.fit}. A resumed run keeps its former value of every option that is left out. */
export interface FitOptions {
  /** Passes over the data; default 1. */
  readonly epochs?: number;
  /** Stops after this many steps in total, where {@link epochs} does not end the run before. */
  readonly maxSteps?: number;
  /** Samples held out for validation: a share of the dataset (0 to 1), or a separate dataset. */
  readonly validation?: number | Dataset;
  /** Folder for the checkpoints `last` (each epoch and at the end) and `best` (of the epoch with the best {@link monitor}). */
  readonly checkpoint?: string;
  /**
   * The figure on the held-out samples that says which epochs are best: `loss` (default), `accuracy`, or one of the trainer's
   * metrics. Less is better of losses and errors, more of all else; a metric of your own says it.
   */
  readonly monitor?: string;
  /** Number of best epochs whose checkpoints stay in the folder, as `epoch-N`; default none. */
  readonly keep?: number;
  /** Ends the run when the monitored figure no longer improves; a number is the patience. `false` ends that of a resumed run. */
  readonly earlyStop?: EarlyStop | number | false;
  /** Functions that the run calls after steps, epochs and checkpoints, and at its end. */
  readonly callbacks?: readonly TrainingCallback[];
  /** Lets a resumed run continue with other data, or another share for validation, than before. */
  readonly otherData?: boolean;
  /** Ends the run after the current step; the state stays. */
  readonly signal?: AbortSignal;
}

/** When a run ends before its last epoch. */
export interface EarlyStop {
  /** Epochs in a row without improvement after which the run ends: 1 ends it after the first such epoch. */
  readonly patience: number;
  /** An improvement must exceed this; default 0. */
  readonly minimumChange?: number;
  /** Default: {@link FitOptions.monitor}. */
  readonly monitor?: string;
}

/** What a checkpoint stores about a fit, as JSON. */
export interface FitPlan {
  readonly epochs: number;
  readonly maxSteps?: number;
  readonly data: DataIdentity;
  /** The share that is held out, or the identity of the separate dataset. */
  readonly validation?: number | DataIdentity;
  readonly monitor?: string;
  readonly keep?: number;
  readonly earlyStop?: EarlyStop;
}

/** Refuses data that differ from those of a plan. Only a resumed run loads it. */
type CheckData = (dataset: Dataset, validation: FitOptions["validation"], stored: FitPlan) => void;

/** Options of a fit, with those of the resumed run as defaults. */
export type ChosenFit = Pick<FitOptions, "maxSteps" | "validation" | "monitor" | "keep"> & {
  readonly epochs: number;
  readonly earlyStop?: EarlyStop;
};

/**
 * Fills in the options that the caller left out.
 * @param stored - the plan in the checkpoint that is resumed
 * @throws UsageError for numbers out of range
 */
function chosenFit(options: FitOptions, stored: FitPlan | undefined): ChosenFit {
  checkNumber("the number of epochs", options.epochs, count);
  checkNumber("the number of steps", options.maxSteps, count);
  if (typeof options.validation === "number" && options.validation !== 0) {
    checkNumber("the share of the data for validation", options.validation, properShare);
  }
  // New epochs replace the end of the run, and with it the stored maxSteps.
  const maxSteps = options.maxSteps ?? (options.epochs === undefined ? stored?.maxSteps : undefined);
  const validation =
    options.validation ?? (typeof stored?.validation === "number" ? stored.validation : undefined);
  const [monitor, keep] = [options.monitor ?? stored?.monitor, options.keep ?? stored?.keep];
  const earlyStop = options.earlyStop === undefined ? stored?.earlyStop : earlyStopOf(options.earlyStop);
  return {
    epochs: options.epochs ?? stored?.epochs ?? 1,
    ...given({ maxSteps, validation, monitor, keep, earlyStop }),
  };
}

function earlyStopOf(given: EarlyStop | number | false): EarlyStop | undefined {
  if (given === false) return undefined;
  return typeof given === "number" ? { patience: given } : given;
}

/** The samples to train on, and the samples that are held out. */
export function splitOf(
  dataset: Dataset,
  { validation }: ChosenFit,
  seed: number,
): { readonly train: Dataset; readonly validation: Dataset | undefined } {
  if (typeof validation !== "number") return { train: dataset, validation };
  return validation === 0
    ? { train: dataset, validation: undefined }
    : splitValidation(dataset, validation, seed);
}

/** Steps of all epochs, and the step after which the run ends. */
export function stepsOf({ epochs, maxSteps }: ChosenFit, perEpoch: number) {
  const planned = epochs * perEpoch;
  return { planned, totalSteps: Math.min(planned, maxSteps ?? planned) };
}

/** The plan that a checkpoint stores. Reads all samples, to identify the data. */
function planOf(dataset: Dataset, { validation, ...others }: ChosenFit): FitPlan {
  return {
    ...others,
    data: identityOf(dataset),
    ...(validation !== undefined && {
      validation: typeof validation === "number" ? validation : identityOf(validation),
    }),
  };
}

/** The plan of the current fit, or of the run that is resumed. */
export class Fitting {
  /** The plan in the checkpoint that is resumed. */
  readonly stored: FitPlan | undefined;
  readonly #checkData: CheckData | undefined;
  #now: { readonly dataset: Dataset; readonly chosen: ChosenFit } | undefined;
  #plan: FitPlan | undefined;

  constructor(stored?: FitPlan, checkData?: CheckData) {
    this.stored = stored;
    this.#checkData = checkData;
  }

  /**
   * The options of a fit, completed by {@link chosenFit}.
   * @throws UsageError for numbers out of range, and for data that differ from those of the resumed run
   */
  chosen(dataset: Dataset, options: FitOptions): ChosenFit {
    const chosen = chosenFit(options, this.stored);
    if (this.stored && !options.otherData) this.#checkData?.(dataset, options.validation, this.stored);
    return chosen;
  }

  /** The step after which a fit ends. */
  totalSteps(dataset: Dataset, options: FitOptions, seed: number, batch: number): number {
    checkDataset(dataset);
    checkOptions("stepsLeft", options);
    const chosen = this.chosen(dataset, options);
    return stepsOf(chosen, stepsPerEpoch(splitOf(dataset, chosen, seed).train, batch)).totalSteps;
  }

  /** Begins a fit that nothing refused: checkpoints store its plan from here on. */
  begin(dataset: Dataset, chosen: ChosenFit): void {
    this.#now = { dataset, chosen };
    this.#plan = undefined;
  }

  /** The plan of the current fit, else of the resumed run. Computed when a checkpoint first needs it. */
  get plan(): FitPlan | undefined {
    if (!this.#now) return this.stored;
    this.#plan ??= planOf(this.#now.dataset, this.#now.chosen);
    return this.#plan;
  }
}
