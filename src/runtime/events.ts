import type { Measured } from "../metrics/metric.ts";
import type { AverageKind } from "../optimizers/averages.ts";

/** Figures of a validation or test set; those of {@link Measured} only where metrics were asked for. */
export interface EvaluationResult extends Partial<Measured> {
  /** Mean data loss, without penalty. */
  readonly loss: number;
  /** Share of correctly classified samples; absent for models that do not classify, or do so by several losses. */
  readonly accuracy?: number;
  /** eᴸ of the mean loss L, for language models, whose accuracy is that of tokens. */
  readonly perplexity?: number;
  /** The average of the weights that was evaluated; absent for the weights themselves. */
  readonly average?: AverageKind;
  /** Each of several losses by name, without its weight. */
  readonly losses?: Readonly<Record<string, number>>;
  /** The accuracy of those of several losses that classify, by name. */
  readonly accuracies?: Readonly<Record<string, number>>;
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
  /** Each of several losses by name, without its weight: of the step, or the mean over the epoch. Absent for a single loss. */
  readonly losses?: Readonly<Record<string, number>>;
  /** Seconds since the run (or its resumption) began. */
  readonly seconds: number;
  readonly samplesPerSecond: number;
}

/** After each step. */
export interface StepEvent extends Progress {
  readonly event: "step";
  /** Share of the weighted penalty in the loss: weight · penalty / loss. */
  readonly penaltyShare: number;
  /** The schedule's factor included. */
  readonly learningRate: number;
  /** In mixed precision with float16: the factor of the loss in the backward pass of this step. */
  readonly lossScale?: number;
  /**
   * In mixed precision with float16: whether a gradient was not finite, so that weights and the optimizer's state kept their
   * numbers. The loss may be NaN then.
   */
  readonly skipped?: boolean;
  readonly totalSteps: number;
}

/** After each epoch; with a validation set, also its figures. */
export interface EpochEvent extends Progress {
  readonly event: "epoch";
  readonly validation?: EvaluationResult;
  readonly accuracy?: number;
  /** That of the last step. */
  readonly learningRate: number;
  /** Seconds that the epoch took, its validation included; of a resumed epoch, those since the run was resumed. */
  readonly epochSeconds: number;
  /** The share of the time of its steps, from 0 to 1, that went by before their samples were there. */
  readonly waiting: number;
}

/**
 * The checkpoints of a run: after the last epoch (or at the stop), of the best epoch, and of each epoch that is kept
 * because it is among the best.
 */
export type CheckpointKind = "last" | "best" | `epoch-${number}`;

/** The state was saved. */
export interface CheckpointEvent extends Progress {
  readonly event: "checkpoint";
  readonly kind: CheckpointKind;
}

/**
 * The run is over. If that is before the last planned step, `stopped` says why: `aborted` by the signal, after `maxSteps`,
 * `early` because the monitored figure no longer improved, or by a callback.
 */
export interface EndEvent extends Progress {
  readonly event: "end";
  readonly validation?: EvaluationResult;
  readonly accuracy?: number;
  readonly stopped?: "aborted" | "max-steps" | "early" | "callback";
}

/** What {@link Trainer.fit} yields. */
export type TrainingEvent = StepEvent | EpochEvent | CheckpointEvent | EndEvent;
