import { NumericError } from "../errors.ts";
import type { TrainingSession } from "./training-session.ts";

/** A run whose loss became NaN or infinite, after its last good step. */
export interface BrokenRun {
  readonly session: TrainingSession;
  /** Steps done before the one whose loss is no number. */
  readonly steps: number;
  /** The folder for checkpoints, and whether it holds a state of this fit. */
  readonly checkpoint: string | undefined;
  readonly isSaved: boolean;
  readonly save: (folder: string) => Promise<void>;
  /** Goes back to a state that is known to be good, and says which: "of step 20". */
  readonly restore: () => string;
}

const advice = "lower the learning rate or the penalty weight, and look for NaN or huge numbers in the data";

/**
 * Ends a run whose loss is no number. The state before that step is kept if it is finite; otherwise the last checkpoint holds
 * the last good state, and without one an earlier state is restored.
 * @throws NumericError that says what became of the state
 */
export async function stopAtNotANumber(loss: number, run: BrokenRun): Promise<never> {
  const { session, steps, checkpoint } = run;
  const finite = [...(await session.readState()).values()].every(
    ({ data }) => data instanceof BigInt64Array || (data as Float32Array).every(Number.isFinite),
  );
  const what = `the loss became ${loss} at step ${steps + 1}`;
  if (finite) {
    if (checkpoint) await run.save(checkpoint);
    const where = checkpoint ? ` in ${checkpoint}` : "";
    throw new NumericError(`${what}; the state after step ${steps} is kept${where}: ${advice}`);
  }
  const state = run.isSaved
    ? `${checkpoint} holds the last good state`
    : `the state ${run.restore()} was restored`;
  throw new NumericError(
    `${what}, since the parameters of step ${steps} were no numbers any more; ${state}: ${advice}`,
  );
}
