import type { Dataset } from "../data/dataset.ts";
import { UsageError } from "../errors.ts";
import type { Model } from "../onnx/model.ts";
import type { TrainerState } from "../programs/trainer-state.ts";
import type {
  CheckpointEvent,
  EndEvent,
  EpochEvent,
  EvaluationResult,
  StepEvent,
  TrainingEvent,
} from "./events.ts";

/** A run, as a callback sees it. */
export interface CallbackRun {
  /** Ends the run after the current step; its state stays, and the end event says `stopped: "callback"`. */
  readonly stop: () => void;
  /** The trainer of the run. */
  readonly trainer: CallbackTrainer;
}

/** What a callback may ask of the trainer. */
export interface CallbackTrainer {
  /** Steps done so far. */
  readonly steps: number;
  /** Saves the run into a folder, from which it can be resumed. */
  save(folder: string): Promise<void>;
  /** Figures over a whole dataset, in inference form. */
  evaluate(dataset: Dataset): Promise<EvaluationResult>;
  /** Copies of the parameters, running statistics and optimizer state. */
  readState(): Promise<TrainerState>;
  /** The model with its current weights. @throws SorthError between the steps of an epoch: await `readState` first */
  export(): Model;
}

/**
 * Functions that a run calls as it goes on, and waits for. If one throws, the run saves its state into the checkpoint folder
 * (if it has one) and ends with that error.
 *
 * @example
 * const printLoss: TrainingCallback = {
 *   onEpochEnd({ epoch, validation }, { stop }) {
 *     console.log(epoch, validation?.loss);
 *     if ((validation?.accuracy ?? 0) > 0.99) stop();
 *   },
 * };
 * for await (const _ of trainer.fit(train, { epochs: 20, validation: 0.1, callbacks: [printLoss] }));
 */
export interface TrainingCallback {
  /** After each step. Several steps may be one run of ONNX Runtime: reading the state between them repeats steps. */
  onStepEnd?(event: StepEvent, run: CallbackRun): unknown;
  /** After each epoch, its validation and its checkpoints. */
  onEpochEnd?(event: EpochEvent, run: CallbackRun): unknown;
  /** After each checkpoint that was written. */
  onCheckpoint?(event: CheckpointEvent, run: CallbackRun): unknown;
  /** At the end, also of a run that was stopped; not after an error. */
  onEnd?(event: EndEvent, run: CallbackRun): unknown;
}

type Hook = (this: TrainingCallback, event: TrainingEvent, run: CallbackRun) => unknown;

/** The hook for each event. */
const hooks = {
  step: "onStepEnd",
  epoch: "onEpochEnd",
  checkpoint: "onCheckpoint",
  end: "onEnd",
} as const satisfies Record<TrainingEvent["event"], keyof TrainingCallback>;

/** @throws UsageError for a callback that no event would call */
function checkCallbacks(callbacks: readonly TrainingCallback[]): void {
  const names = Object.values(hooks);
  const idle = callbacks.findIndex(
    (callback) => !names.some((name) => typeof callback?.[name] === "function"),
  );
  if (idle < 0) return;
  throw new UsageError(
    `callback ${idle + 1} has none of the functions that a run calls: ${names.join(", ")}`,
  );
}

/**
 * Calls the callbacks for each event, one after another, before the event is passed on.
 * @param save - keeps the state of the run when a callback throws
 * @throws UsageError for a callback that no event would call
 */
export async function* withCallbacks(
  events: AsyncIterable<TrainingEvent>,
  callbacks: readonly TrainingCallback[],
  run: CallbackRun,
  save: () => Promise<unknown>,
): AsyncGenerator<TrainingEvent, void, undefined> {
  checkCallbacks(callbacks);
  for await (const event of events) {
    try {
      for (const callback of callbacks) {
        const hook = callback[hooks[event.event]] as Hook | undefined;
        await hook?.call(callback, event, run);
      }
    } catch (error) {
      // The callback's own error matters more than one of the storage.
      await save().catch(() => {});
      throw error;
    }
    yield event;
  }
}
