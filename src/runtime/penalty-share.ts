import { NumericError } from "../errors.ts";
import type { Feeder } from "./step-feeds.ts";
import type { StepScalars } from "./step-scalars.ts";
import type { TrainingSession } from "./training-session.ts";

/** A weight of all penalties, chosen at a batch. */
interface ChosenWeight {
  readonly weight: number;
  /** The loss of the data there, and R. */
  readonly loss: number;
  readonly penalty: number;
}

/**
 * Chooses the weight w with which penalties are a share of the loss at the batch that a feeder holds: w·R = share·(loss + w·R).
 * The weight has three digits, so that it can be typed. The step that measures is undone.
 * @throws NumericError where no weight does that: the loss or R is 0 or not finite
 */
export async function weightForShare(
  session: TrainingSession,
  feeder: Feeder,
  scalars: readonly StepScalars[],
  share: number,
): Promise<ChosenWeight> {
  // Schedules may begin at 0.
  const plain = scalars.map((one) => ({ ...one, penaltyWeight: 0, schedules: new Map<string, number>() }));
  const [first] = await session.run(feeder, plain);
  await session.settle();
  const { loss = Number.NaN, penalty = Number.NaN } = first ?? {};
  const weight = Number((((share / (1 - share)) * Math.abs(loss)) / penalty).toPrecision(3));
  if (Number.isFinite(weight) && weight > 0) return { weight, loss, penalty };
  throw new NumericError(
    `no weight makes the penalty a share of the loss: at the first batch the loss is ${loss} and the penalty ${penalty}; give a weight (--weight) in place of a share (--share)`,
  );
}

/** The message about the chosen weight. */
export const shareText = ({ weight, loss, penalty }: ChosenWeight, share: number): string =>
  `penalty weight ${weight}: with it the penalty, ${penalty.toPrecision(3)}, is a share of ${share} of the loss at the first batch, ${loss.toPrecision(3)} without it`;
