import type { Probe } from "../analysis/probe.ts";
import type { Dataset } from "../data/dataset.ts";
import type { FeedOptions } from "../data/feeds.ts";
import type { Model } from "../onnx/model.ts";
import type { Step } from "../programs/step.ts";
import type { RunLength } from "./run-length.ts";
import type { Feeder } from "./step-feeds.ts";
import type { Backend, StepSession, StepSessionOptions } from "./step-session.ts";
import type { TrainerOptions } from "./trainer-options.ts";

/** Options of a run's step, and of its session. */
export type OpenStepOptions = TrainerOptions & Omit<StepSessionOptions, "beside">;

/** Builds the step of a model in the form of a backend, and opens its session, which may share the state of another one. */
export type OpenStep = (
  model: Model,
  options: OpenStepOptions,
  backend: Backend,
  probe: Probe,
  beside?: StepSession,
) => Promise<OpenedStep>;

/** A training step whose session is open. */
export interface OpenedStep {
  /** In Loop form if runs do several steps. */
  readonly step: Step;
  readonly length: RunLength;
  readonly session: StepSession;
  /** The steps of shorter texts beside it; undefined without buckets. */
  readonly buckets?: StepBuckets | undefined;
}

/** The steps of a run whose texts are in buckets. */
export interface StepBuckets {
  /**
   * Puts the texts of a dataset into buckets, and opens the steps that they need.
   * @throws SorthError for data without padding, and for a model whose results depend on it
   */
  of(train: Dataset): Promise<FitBuckets>;
}

/** What a fit needs of its buckets. */
export interface FitBuckets {
  /** The order of an epoch's samples: whole batches, each of one bucket. */
  order(seed: number, epoch: number): Uint32Array;
  feeder(seed: number, options: FeedOptions): Feeder;
}
