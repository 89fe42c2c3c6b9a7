import { positive, properShare } from "../numbers.ts";
import { checkChoice, checkOption, type Schedule, type ScheduleEntry } from "./schedule.ts";

/** Options of {@link oneCycle}, with torch's names and defaults. */
export interface OneCycleOptions {
  /** The share of the run in which the factor rises; default 0.3. */
  readonly pctStart?: number;
  /** The factor begins at 1/divFactor; default 25. */
  readonly divFactor?: number;
  /** The factor ends at 1/(divFactor · finalDivFactor); default 10,000. */
  readonly finalDivFactor?: number;
  /** Along half a cosine, or linearly; default `cos`. */
  readonly anneal?: "cos" | "linear";
}

/**
 * Rises from 1/divFactor to 1 and falls to almost nothing over the whole run (torch's OneCycleLR in two phases): the learning
 * rate of the run is the highest one, torch's `max_lr`. Momentum stays as it is (torch's `cycle_momentum=False`), because it is a constant of
 * the step's graph. Source: Smith, Topin 2017, arXiv 1708.07120.
 * @throws UsageError for a value out of range.
 *
 * @example
 * oneCycle()(1, 1000); // 0.04
 */
export function oneCycle({
  pctStart = 0.3,
  divFactor = 25,
  finalDivFactor = 1e4,
  anneal = "cos",
}: OneCycleOptions = {}): Schedule {
  const name = "one-cycle";
  checkOption(name, "pct-start", pctStart, properShare);
  checkOption(name, "div-factor", divFactor, positive);
  checkOption(name, "final-div-factor", finalDivFactor, positive);
  checkChoice(name, "anneal", anneal, ["cos", "linear"]);
  const between = (from: number, to: number, done: number) =>
    anneal === "linear" ? from + (to - from) * done : to + ((from - to) / 2) * (1 + Math.cos(Math.PI * done));
  const start = 1 / divFactor;
  return (step, totalSteps) => {
    const done = Math.min(step, totalSteps) - 1;
    const top = pctStart * totalSteps - 1;
    // A run of so few steps that none of them rises begins on the way down.
    if (done <= top && top > 0) return between(start, 1, done / top);
    const rest = totalSteps - 1 - top;
    return between(1, start / finalDivFactor, (done - top) / rest);
  };
}

/** {@link oneCycle} in the table. */
export const oneCycleEntry: ScheduleEntry = {
  name: "one-cycle",
  summary:
    "rises from 1/`div-factor` to 1 in the share `pct-start` of the run, then falls to 1/(`div-factor`·`final-div-factor`); `anneal` is cos or linear",
  options: { pctStart: 0.3, divFactor: 25, finalDivFactor: 10_000, anneal: "cos" },
  make: oneCycle,
};
