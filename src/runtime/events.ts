/** Figures of a validation or test set. */
export interface EvaluationResult {
  /** Mean data loss, without penalty. */
  readonly loss: number;
  /** Share of correctly classified samples; absent for models that do not classify. */
  readonly accuracy?: number;
  /** Further figures by name; absent where none were asked for. */
  readonly metrics?: Readonly<Record<string, number>>;
  /** Number of samples counted: all, or those in whole batches where the model's own loss is one number per batch. */
  readonly samples: number;
}

/** Fields that every event of a run has. */
interface Progress {
  /** Steps done, counted over all epochs. */
  readonly step: number;
  /** Epoch, counted from 1. */
  readonly epoch: number;
  /** Total loss: of the step, or the mean over the epoch. */
  readonly loss: number;
  /** Unweighted penalty: of the step, or the mean over the epoch. */
  readonly penalty: number;
  /**
   * What each penalty adds to the loss, its weight and schedule included: of the step, or the mean over the epoch. Keys are
   * the penalties' names; a second plan with the same penalty is `name.2`, and so on.
   */
  readonly penalties: Readonly<Record<string, number>>;
  /** Seconds since the run (or its resumption) began. */
  readonly seconds: number;
  readonly samplesPerSecond: number;
}

/** After each step. */
export interface StepEvent extends Progress {
  readonly event: "step";
  /** Share of the weighted penalty in the loss: weight · penalty / loss. */
  readonly penaltyShare: number;
  readonly totalSteps: number;
}

/** After each epoch; with a validation set, also its figures. */
export interface EpochEvent extends Progress {
  readonly event: "epoch";
  readonly validation?: EvaluationResult;
  readonly accuracy?: number;
}

/** The state was saved. */
export interface CheckpointEvent extends Progress {
  readonly event: "checkpoint";
  readonly kind: "best" | "last";
}

/** The run is over; `stopped` says why, if early. */
export interface EndEvent extends Progress {
  readonly event: "end";
  readonly validation?: EvaluationResult;
  readonly accuracy?: number;
  readonly stopped?: "aborted" | "max-steps";
}

/** What {@link Trainer.fit} yields. */
export type TrainingEvent = StepEvent | EpochEvent | CheckpointEvent | EndEvent;
