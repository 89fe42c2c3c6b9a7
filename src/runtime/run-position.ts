import { FileError } from "../errors.ts";
import { parsedJson } from "../json.ts";
import { anyNumber, countFromZero } from "../numbers.ts";
import type { EvaluationResult } from "./events.ts";
import { historyFromJson, type RunHistory } from "./run-history.ts";
import type { StepResult } from "./step-session.ts";

/** How far a run is. A checkpoint stores it as JSON. */
export interface Position {
  step: number;
  /** Updates done by a former run whose state this run took over. */
  before?: number;
  /** Sums over the current epoch. */
  loss: number;
  penalty: number;
  /** What each penalty added to the loss, by name. */
  penalties?: Record<string, number>;
  /** Each of several losses, by name. */
  losses?: Record<string, number>;
  counted: number;
  bestLoss: number | null;
  /** The finished epochs; absent in checkpoints of older versions. */
  history?: RunHistory;
  /** Figures of the last validated epoch; absent in checkpoints of older versions. */
  validated?: EvaluationResult;
  /** Early stopping ended the run, and its end was reported. */
  endedEarly?: boolean;
}

/** The position at the start of a run. */
export const startPosition = (): Position => ({ step: 0, loss: 0, penalty: 0, counted: 0, bestLoss: null });

/** Reads a position. @throws SorthError when it is damaged: a step that is not a whole number, figures that are not numbers */
export function positionFromText(text: string, where: string): Position {
  const position = parsedJson(text) as Position;
  const history = position?.history === undefined ? [] : historyFromJson(position.history);
  const { step, before, loss, penalty, penalties, losses, counted, bestLoss } = position ?? {};
  const sums = [penalties, losses].flatMap((byName) => Object.values(byName ?? {}));
  const numbers = [loss, penalty, bestLoss ?? 0, ...sums];
  const holds =
    history !== undefined &&
    [step, counted].every(countFromZero.holds) &&
    (before === undefined || Number.isSafeInteger(before)) &&
    counted <= step &&
    numbers.every(anyNumber.holds);
  if (!holds)
    throw new FileError(`${where} is damaged: where the run stands cannot be read (${text.slice(0, 80)})`);
  return { ...position, history };
}

/** The figures at the start of an epoch. */
export const startEpoch = { loss: 0, penalty: 0, penalties: {}, losses: {}, counted: 0 } as const;

/**
 * Counts one finished step. A loss that is not finite, of a step that left its update out, has no part in the sums.
 * @param penalties - what each penalty added to its loss, by name
 * @param losses - each of several losses, by name
 */
export function advance(
  position: Position,
  { loss, penalty }: Pick<StepResult, "loss" | "penalty">,
  penalties: Readonly<Record<string, number>>,
  losses: Readonly<Record<string, number>> = {},
): void {
  position.step += 1;
  if (!Number.isFinite(loss)) return;
  position.loss += loss;
  position.penalty += penalty;
  position.penalties = summed(position.penalties, penalties);
  position.losses = summed(position.losses, losses);
  position.counted += 1;
}

const summed = (
  sums: Readonly<Record<string, number>> = {},
  added: Readonly<Record<string, number>>,
): Record<string, number> =>
  Object.fromEntries(Object.entries(added).map(([name, number]) => [name, (sums[name] ?? 0) + number]));

/** Mean losses and penalties of the current epoch. */
export function meanOf({ step, loss, penalty, penalties = {}, losses = {}, counted }: Position) {
  // NaN if every loss so far was NaN or infinite.
  const steps = counted === 0 && step > 0 ? Number.NaN : Math.max(counted, 1);
  const means = (sums: Readonly<Record<string, number>>) =>
    Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum / steps]));
  return {
    loss: loss / steps,
    penalty: penalty / steps,
    penalties: means(penalties),
    ...(Object.keys(losses).length > 0 && { losses: means(losses) }),
  };
}
