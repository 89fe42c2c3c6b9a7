import { NumericError } from "../errors.ts";
import type { StepResult } from "./step-session.ts";
import type { TrainingSession } from "./training-session.ts";

/** A run whose loss or gradients became NaN or infinite, and its last good step. */
export interface BrokenRun {
  readonly session: TrainingSession;
  /** Number of steps before the one whose loss is NaN or infinite. */
  readonly steps: number;
  /** The checkpoint folder, and whether this fit has saved a state in it. */
  readonly checkpoint: string | undefined;
  readonly isSaved: boolean;
  readonly save: (folder: string) => Promise<void>;
  /** Restores a state that is known to be good, and returns its name for the message: "of step 20". */
  readonly restore: () => string;
}

const usualAdvice =
  "lower the learning rate or the penalty weight, and look for NaN or huge numbers in the data";

/**
 * Ends a run whose loss is NaN or infinite, or whose gradients are at every scale. The state before that step is kept if it is finite. Otherwise the last good state
 * is in the last checkpoint; without a checkpoint, an earlier state is restored.
 * @throws NumericError that says which state is left
 */
export async function stopAtNotANumber({ loss, scaling }: StepResult, run: BrokenRun): Promise<never> {
  const { session, steps, checkpoint } = run;
  const finite = [...(await session.readState()).values()].every(
    ({ data }) => data instanceof BigInt64Array || (data as Float32Array).every(Number.isFinite),
  );
  const what = scaling?.skipped
    ? `gradients are not finite at step ${steps + 1}, though the loss scale fell to ${scaling.lossScale.toPrecision(2)}`
    : `the loss became ${loss} at step ${steps + 1}`;
  const advice = scaling?.skipped ? `train in float32 (--precision), or ${usualAdvice}` : usualAdvice;
  if (finite) {
    if (checkpoint) await run.save(checkpoint);
    const where = checkpoint ? ` in ${checkpoint}` : "";
    throw new NumericError(`${what}; the state after step ${steps} is kept${where}: ${advice}`);
  }
  const state = run.isSaved
    ? `${checkpoint} holds the last good state`
    : `the state ${run.restore()} was restored`;
  throw new NumericError(
    `${what}, since the parameters of step ${steps} are not finite; ${state}: ${advice}`,
  );
}
