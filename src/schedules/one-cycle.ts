import { UsageError } from "../errors.ts";
import { hyphened } from "../name-and-options.ts";
import { decayRate, positive, properShare } from "../numbers.ts";
import { checkChoice, checkNames, checkOption, type Schedule, type ScheduleEntry } from "./schedule.ts";

/** torch's momenta where the rate is highest, and where it is lowest. */
const usual = { low: 0.85, high: 0.95 } as const;

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
  /** Whether the factor first falls to where it began, in as many steps as it rose, and then to the end; default false. */
  readonly threePhase?: boolean | "true" | "false";
  /** Whether the momentum of SGD, or β1 of Adam, moves the other way than the rate; default false (torch: true). */
  readonly cycleMomentum?: boolean | "true" | "false";
  /** The momentum where the rate is highest; default 0.85. */
  readonly baseMomentum?: number;
  /** The momentum where the rate is lowest; default 0.95. */
  readonly maxMomentum?: number;
}

/**
 * Rises from 1/divFactor to 1 and falls to almost nothing over the whole run (torch's OneCycleLR): the learning rate of the run is the
 * highest one, torch's `max_lr`. With `cycleMomentum`, the momentum falls from `maxMomentum` to `baseMomentum` while the rate rises,
 * and rises again; without it, the default here but not in torch, the optimizer's own momentum stays.
 * Source: Smith, Topin 2018, arXiv 1708.07120.
 * @throws UsageError for a value out of range.
 *
 * @example
 * oneCycle()(1, 1000); // 0.04
 */
export function oneCycle(options: OneCycleOptions = {}): Schedule {
  checkNames(options, oneCycleEntry);
  const {
    pctStart = 0.3,
    divFactor = 25,
    finalDivFactor = 1e4,
    anneal = "cos",
    threePhase = false,
  } = options;
  const { cycleMomentum = false, baseMomentum, maxMomentum } = options;
  const name = "one-cycle";
  checkOption(name, "pct-start", pctStart, properShare);
  checkOption(name, "div-factor", divFactor, positive);
  checkOption(name, "final-div-factor", finalDivFactor, positive);
  checkChoice(name, "anneal", anneal, ["cos", "linear"]);
  for (const [option, value] of Object.entries({ threePhase, cycleMomentum })) {
    checkChoice(name, hyphened(option), String(value), ["true", "false"]);
  }
  const [low, high] = [baseMomentum ?? usual.low, maxMomentum ?? usual.high];
  checkOption(name, "base-momentum", low, decayRate);
  checkOption(name, "max-momentum", high, decayRate);
  const [start, moves, three] = [
    1 / divFactor,
    String(cycleMomentum) === "true",
    String(threePhase) === "true",
  ];
  if (!moves && (low !== usual.low || high !== usual.high)) {
    throw new UsageError(
      "base-momentum and max-momentum of the schedule one-cycle have no effect without cycle-momentum=true: give it, or leave them out",
    );
  }
  const rates = three ? [start, 1, start, start / finalDivFactor] : [start, 1, start / finalDivFactor];
  const momenta = three ? [high, low, high, high] : [high, low, high];
  /** Between the numbers at the ends of phases. */
  const along = (numbers: readonly number[]) => (step: number, totalSteps: number) => {
    const done = Math.min(step, totalSteps) - 1;
    const rise = pctStart * totalSteps - 1;
    const ends = three ? [rise, 2 * rise, totalSteps - 1] : [rise, totalSteps - 1];
    let from = 0;
    for (const [phase, end] of ends.entries()) {
      const isLast = phase === ends.length - 1;
      // A run of so few steps that none of them rises begins on the way down.
      if (end > from && (done <= end || isLast)) {
        return between(numbers[phase] ?? 0, numbers[phase + 1] ?? 0, (done - from) / (end - from), anneal);
      }
      from = end;
    }
    return numbers.at(-1) ?? 0;
  };
  return moves ? Object.assign(along(rates), { momentum: along(momenta) }) : along(rates);
}

const between = (from: number, to: number, done: number, anneal: "cos" | "linear") =>
  anneal === "linear" ? from + (to - from) * done : to + ((from - to) / 2) * (1 + Math.cos(Math.PI * done));

/** {@link oneCycle} in the table. */
export const oneCycleEntry: ScheduleEntry = {
  name: "one-cycle",
  summary:
    "rises from 1/`div-factor` to 1 in the share `pct-start` of the run, then falls to 1/(`div-factor`·`final-div-factor`); `anneal` is cos or linear; `three-phase` falls back to the start first; `cycle-momentum` moves the momentum (β1 of Adam) from `max-momentum` to `base-momentum` and back",
  options: {
    ...{ pctStart: 0.3, divFactor: 25, finalDivFactor: 10_000, anneal: "cos", threePhase: "false" },
    ...{ cycleMomentum: "false", baseMomentum: usual.low, maxMomentum: usual.high },
  },
  make: oneCycle,
};
