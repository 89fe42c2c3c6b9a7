/** Figures of a validation or test set. */
export interface EvaluationResult {
  /** Mean data loss, without penalty. */
  readonly loss: number;
  /** Share of samples classified right; absent where nothing is classified. */
  readonly accuracy?: number;
  /** Samples that were counted: all, or those in whole batches where a model's own loss is one number for each batch. */
  readonly samples: number;
}

/** What every event of a run says. */
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
   * What each penalty adds to the loss, its weight and schedule included: of the step, or the mean over the epoch. By name;
   * of the second plan with the same penalty `name.2`, and so on.
   */
  readonly penalties: Readonly<Record<string, number>>;
  /** Since the run (or its resumption) began. */
  readonly seconds: number;
  readonly samplesPerSecond: number;
}

/** After each step. */
export interface StepEvent extends Progress {
  readonly event: "step";
  /** weight · penalty / loss. */
  readonly penaltyShare: number;
  readonly totalSteps: number;
}

/** After each epoch; with a validation set, its figures. */
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
