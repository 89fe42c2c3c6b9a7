import { NumericError } from "../errors.ts";
import type { StepResult } from "./step-session.ts";
import type { TrainingSession } from "./training-session.ts";

/** A run whose loss, gradients or state became NaN or infinite, and its last good step. */
interface BrokenRun {
  readonly session: TrainingSession;
  /** Number of steps that were reported: those before a step whose loss is NaN or infinite. */
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
 * Ends a run whose loss is NaN or infinite, whose gradients are at every scale, or whose state is at the end of an epoch. The state before that step is kept if it is
 * finite. Otherwise the last good state is in the last checkpoint; without a checkpoint, an earlier state is restored.
 * @param result - of the step that broke; undefined where the losses are finite and the state is not
 * @throws NumericError that says which state is left
 */
export async function stopAtNotANumber(result: StepResult | undefined, run: BrokenRun): Promise<never> {
  const { session, steps, checkpoint } = run;
  const broken = await session.brokenNumber();
  const { loss, scaling } = result ?? {};
  const what = scaling?.skipped
    ? `gradients are not finite at step ${steps + 1}, though the loss scale fell to ${scaling.lossScale.toPrecision(2)}`
    : `the loss became ${loss} at step ${steps + 1}`;
  const advice = scaling?.skipped ? `train in float32 (--precision), or ${usualAdvice}` : usualAdvice;
  if (broken === undefined) {
    if (checkpoint) await run.save(checkpoint);
    const where = checkpoint ? ` in ${checkpoint}` : "";
    throw new NumericError(`${what}; the state after step ${steps} is kept${where}: ${advice}`);
  }
  const state = run.isSaved
    ? `${checkpoint} holds the last good state`
    : `the state ${run.restore()} was restored`;
  const cause = result
    ? `${what}, since the parameters of step ${steps} are not finite (${broken})`
    : `after step ${steps}, ${broken}, though the loss is finite`;
  throw new NumericError(`${cause}; ${state}: ${advice}`);
}
