import { splitValidation, stepsPerEpoch } from "../data/batches.ts";
import { type DataIdentity, identityOf } from "../data/checksum.ts";
import type { Dataset } from "../data/dataset.ts";
import { FileError, UsageError } from "../errors.ts";
import { given } from "../given.ts";
import { parsedJson } from "../json.ts";
import { checkNumber, count, notNegative, properShare } from "../numbers.ts";
import type { TrainingCallback } from "./callbacks.ts";

/** Options of {@link Trainer.fit}. A resumed run keeps its former value of every option that is left out. */
export interface FitOptions {
  /** Passes over the data; default 1. */
  readonly epochs?: number;
  /** Stops after this many steps in total. */
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

/** Options of a fit, with those of the resumed run as defaults. */
export type ChosenFit = Pick<FitOptions, "maxSteps" | "validation" | "monitor" | "keep"> & {
  readonly epochs: number;
  readonly earlyStop?: EarlyStop;
};

/**
 * Fills in the options that the caller left out.
 * @param stored - the plan in the checkpoint that is resumed
 * @throws UsageError for numbers out of range, and for data that differ from those of the resumed run
 */
function chosenFit(dataset: Dataset, options: FitOptions, stored: FitPlan | undefined): ChosenFit {
  checkNumber("the number of epochs", options.epochs, count);
  checkNumber("the number of steps", options.maxSteps, count);
  if (typeof options.validation === "number" && options.validation !== 0) {
    checkNumber("the share of the data for validation", options.validation, properShare);
  }
  if (stored && !options.otherData) checkSameData(dataset, options.validation, stored);
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
export function planOf(dataset: Dataset, { validation, ...others }: ChosenFit): FitPlan {
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
  #now: { readonly dataset: Dataset; readonly chosen: ChosenFit } | undefined;
  #plan: FitPlan | undefined;

  constructor(stored?: FitPlan) {
    this.stored = stored;
  }

  /** The options of a fit, completed by {@link chosenFit}. */
  chosen(dataset: Dataset, options: FitOptions): ChosenFit {
    return chosenFit(dataset, options, this.stored);
  }

  /** The step after which a fit ends. */
  totalSteps(dataset: Dataset, options: FitOptions, seed: number, batch: number): number {
    const chosen = this.chosen(dataset, options);
    return stepsOf(chosen, stepsPerEpoch(splitOf(dataset, chosen, seed).train, batch)).totalSteps;
  }

  /** Begins a fit. */
  begin(dataset: Dataset, options: FitOptions): ChosenFit {
    const chosen = this.chosen(dataset, options);
    this.#now = { dataset, chosen };
    this.#plan = undefined;
    return chosen;
  }

  /** The plan of the current fit, else of the resumed run. Computed when a checkpoint first needs it. */
  get plan(): FitPlan | undefined {
    if (!this.#now) return this.stored;
    this.#plan ??= planOf(this.#now.dataset, this.#now.chosen);
    return this.#plan;
  }
}

function checkSameData(dataset: Dataset, validation: FitOptions["validation"], stored: FitPlan): void {
  checkIdentity(dataset, stored.data, "trained");
  const before = stored.validation ?? 0;
  if (typeof before === "number") {
    if (validation === undefined || validation === before) return;
    const now = typeof validation === "number" ? `${validation}` : `"${validation.name}"`;
    throw new UsageError(
      `the run was begun with ${before === 0 ? "no samples" : `a share of ${before} of the samples`} held out for validation, not with ${now}: leave validation out to go on as it was, or set otherData (--other-data)`,
    );
  }
  if (validation === undefined || typeof validation === "number") {
    throw new UsageError(
      `the run was validated on data of its own, "${before.name}" (${before.samples} samples): give it again as validation, or set otherData (--other-data)`,
    );
  }
  checkIdentity(validation, before, "validated");
}

function checkIdentity(dataset: Dataset, before: DataIdentity, verb: string): void {
  const now = identityOf(dataset, before.checksum);
  if (now.checksum === before.checksum && now.samples === before.samples) return;
  throw new UsageError(
    `the run was ${verb} on other data: "${before.name}" with ${before.samples} samples (checksum ${before.checksum}), and "${now.name}" has ${now.samples} (${now.checksum}); give the same data, or set otherData (--other-data) to go on with these`,
  );
}

/** Reads a plan. @throws SorthError where it is damaged */
export function planFromText(text: string, where: string): FitPlan {
  const plan = parsedJson(text) as FitPlan;
  const isIdentity = (value: unknown): boolean => {
    const { checksum, samples } = (value ?? {}) as Partial<DataIdentity>;
    return typeof checksum === "string" && count.holds(samples ?? 0);
  };
  const { epochs, maxSteps = 1, data, validation = 0, keep = 1, earlyStop } = plan ?? {};
  const holds =
    [epochs, maxSteps, keep, earlyStop?.patience ?? 1].every(count.holds) &&
    isIdentity(data) &&
    (typeof validation === "number"
      ? notNegative.holds(validation) && validation < 1
      : isIdentity(validation));
  if (!holds) throw new FileError(`${where} is damaged: it does not say how the run was fitted`);
  return plan;
}
