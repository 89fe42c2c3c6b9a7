import { UsageError } from "../errors.ts";
import { figureAsked, figureOf } from "../schedules/schedule.ts";
import type { EarlyStop } from "./fit-plan.ts";
import type { EpochFigures, RunHistory } from "./run-history.ts";

/** Whether more of a figure is better, or less. */
export type Better = "higher" | "lower";

/** The figure that says which epochs are best. */
interface Monitor {
  readonly figure: string;
  readonly better: Better;
}

/** What follows from a finished epoch. */
export interface EpochDecision {
  /** No earlier epoch is as good. */
  readonly isBest: boolean;
  /** Whether its checkpoint is among those to keep. */
  readonly isKept: boolean;
  /** Epochs whose checkpoints were kept until now. */
  readonly fallen: readonly number[];
  /** Whether the figure has not improved for as many epochs as the patience allows. */
  readonly isOver: boolean;
}

/** Options that decide between epochs. */
interface DecisionOptions {
  readonly monitor?: string | undefined;
  readonly keep?: number | undefined;
  readonly earlyStop?: EarlyStop | undefined;
}

/**
 * A function that decides after each epoch, from the run's history alone: a resumed run decides as one that was not stopped.
 * @param figures - those that a validation of the run computes
 * @throws UsageError for a figure that is not among them
 */
export function decisionsBy(
  { monitor = "loss", keep = 0, earlyStop }: DecisionOptions,
  figures: ReadonlyMap<string, Better>,
): (history: RunHistory) => EpochDecision {
  const best = monitorNamed(monitor, figures);
  const stopping = monitorNamed(earlyStop?.monitor ?? monitor, figures);
  return (history) => {
    const last = history.at(-1)?.epoch;
    const before = history.slice(0, -1);
    const kept = bestEpochs(history, best, keep);
    return {
      isBest: last !== undefined && bestEpochs(history, best, 1)[0] === last && !isLost(history.at(-1), best),
      isKept: last !== undefined && kept.includes(last),
      fallen: bestEpochs(before, best, keep).filter((epoch) => !kept.includes(epoch)),
      isOver:
        earlyStop !== undefined &&
        epochsWithoutImprovement(history, stopping, earlyStop.minimumChange ?? 0) >= earlyStop.patience,
    };
  };
}

/** @throws UsageError for a figure that the run does not compute */
function monitorNamed(name: string, figures: ReadonlyMap<string, Better>): Monitor {
  const figure = figureAsked(name);
  const better = figures.get(figure);
  if (better !== undefined) return { figure, better };
  throw new UsageError(
    `there is no figure "${name}" to monitor: this run computes ${[...figures.keys()].join(", ")} on its held-out samples; metrics (--metrics) adds others`,
  );
}

/** The number of a figure after an epoch; NaN where it was not computed. */
const numberOf = ({ validation }: EpochFigures, { figure }: Monitor): number =>
  validation ? figureOf(validation, figure) : Number.NaN;

const isLost = (epoch: EpochFigures | undefined, monitor: Monitor): boolean =>
  epoch === undefined || Number.isNaN(numberOf(epoch, monitor));

/** How much better a number is than another. */
const gain = ({ better }: Monitor, value: number, than: number): number =>
  better === "higher" ? value - than : than - value;

/** The best epochs, the best one first and of equal ones the earlier; those without a number come last. */
function bestEpochs(history: RunHistory, monitor: Monitor, count: number): number[] {
  const validated = history.filter(({ validation }) => validation !== undefined);
  const order = (a: EpochFigures, b: EpochFigures) => {
    const [first, second] = [numberOf(a, monitor), numberOf(b, monitor)];
    if (Number.isNaN(first) || Number.isNaN(second))
      return Number(Number.isNaN(first)) - Number(Number.isNaN(second));
    return first === second ? 0 : gain(monitor, first, second) > 0 ? -1 : 1;
  };
  return validated
    .toSorted(order)
    .slice(0, count)
    .map(({ epoch }) => epoch);
}

/**
 * Epochs since the figure last improved on its best by more than a minimum, as PyTorch Lightning and Keras count them. An epoch
 * whose figure is no number is one without improvement.
 */
function epochsWithoutImprovement(history: RunHistory, monitor: Monitor, minimumChange: number): number {
  let best: number | undefined;
  let without = 0;
  for (const epoch of history) {
    if (epoch.validation === undefined) continue;
    const value = numberOf(epoch, monitor);
    const improves =
      !Number.isNaN(value) && (best === undefined || gain(monitor, value, best) > minimumChange);
    if (improves) [best, without] = [value, 0];
    else without += 1;
  }
  return without;
}
