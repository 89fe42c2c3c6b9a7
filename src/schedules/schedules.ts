import { UsageError } from "../errors.ts";

/**
 * What a learning rate or a penalty weight is multiplied by at a step.
 * @param step - counts from 1
 * @param totalSteps - of the whole run
 */
export type Schedule = (step: number, totalSteps: number) => number;

/** Always 1. */
export const constant = (): Schedule => () => 1;

/**
 * Rises linearly: step/steps, and 1 from `steps` on.
 * @throws UsageError unless `steps` is a whole number of 0 or more.
 */
export function warmup(steps: number): Schedule {
  wholeFrom(0, "steps", "warmup", steps);
  return (step) => (step < steps ? step / steps : 1);
}

/** Options of {@link cosine}. */
export interface CosineOptions {
  /** Steps of a linear rise before it; 0. */
  readonly warmup?: number;
  /** What it falls to, 0 (default) to 1. */
  readonly floor?: number;
}

/**
 * Falls along half a cosine from 1, at the first step after the warmup, towards `floor`, which the step after the last
 * would reach (torch's CosineAnnealingLR): no step of the run has the factor `floor` itself, so none is lost where that is 0.
 * @throws UsageError for a value out of range.
 *
 * @example
 * cosine({ warmup: 100, floor: 0.1 })(1, 1000); // 0.01
 */
export function cosine({ warmup: rise = 0, floor = 0 }: CosineOptions = {}): Schedule {
  wholeFrom(0, "warmup", "cosine", rise);
  if (!(floor >= 0 && floor <= 1)) throw refused("floor", "cosine", "from 0 to 1", floor);
  const rising = warmup(rise);
  return (step, totalSteps) => {
    if (step <= rise) return rising(step, totalSteps);
    const done = Math.min(1, (step - 1 - rise) / Math.max(1, totalSteps - rise));
    return floor + ((1 - floor) * (1 + Math.cos(Math.PI * done))) / 2;
  };
}

/** Options of {@link stepDecay}. */
export interface StepDecayOptions {
  /** Steps between two drops. */
  readonly every: number;
  /** What is left of the factor after a drop. */
  readonly factor: number;
}

/**
 * Is multiplied by `factor` after every `every` steps (torch's StepLR).
 * @throws UsageError for a value out of range.
 *
 * @example
 * stepDecay({ every: 1000, factor: 0.1 })(1001, 5000); // 0.1
 */
export function stepDecay({ every, factor }: StepDecayOptions): Schedule {
  wholeFrom(1, "every", "step", every);
  if (!(factor > 0 && Number.isFinite(factor))) throw refused("factor", "step", "a number above 0", factor);
  return (step) => factor ** Math.floor((step - 1) / every);
}

/** Up to which of 200 epochs the published schedule of SRIP has a factor. */
const sripFactors = [
  [20, 1],
  [50, 1e-3],
  [70, 1e-4],
  [120, 1e-6],
] as const;

/**
 * The published schedule of SRIP: 1 for 20 of 200 epochs, 1e-3 up to epoch 50, 1e-4 up to 70, 1e-6 up to 120, then 0; of a
 * run of any length the same shares.
 * Source: the code of Bansal, Chen, Wang 2018 (VITA-Group/Orthogonality-in-CNNs).
 */
export const sripSchedule = (): Schedule => (step, totalSteps) =>
  sripFactors.find(([epochs]) => 200 * step <= epochs * totalSteps)?.[1] ?? 0;

/** Schedules by name: the options that each takes, whether it needs them, and what makes it of them. */
const schedules: Readonly<
  Record<
    string,
    {
      readonly options: readonly string[];
      readonly required: boolean;
      readonly make: (options: Readonly<Record<string, number>>) => Schedule;
    }
  >
> = {
  constant: { options: [], required: false, make: constant },
  warmup: { options: ["steps"], required: true, make: ({ steps = 0 }) => warmup(steps) },
  cosine: { options: ["warmup", "floor"], required: false, make: cosine },
  step: {
    options: ["every", "factor"],
    required: true,
    make: ({ every = 1, factor = 1 }) => stepDecay({ every, factor }),
  },
  srip: { options: [], required: false, make: sripSchedule },
};

/** Names of the schedules, as {@link parseSchedule} takes them. */
export const scheduleNames: readonly string[] = Object.keys(schedules);

/**
 * Reads a schedule from text: a name and, after a colon, its options.
 * @throws UsageError for an unknown name or option, a missing option, or a value that it cannot take.
 *
 * @example
 * parseSchedule("cosine:warmup=100,floor=0.1");
 * parseSchedule("warmup:steps=100");
 * parseSchedule("step:every=1000,factor=0.1");
 */
export function parseSchedule(text: string): Schedule {
  const colon = text.indexOf(":");
  const name = colon < 0 ? text : text.slice(0, colon);
  const kind = Object.hasOwn(schedules, name) ? schedules[name] : undefined;
  if (!kind) throw new UsageError(`there is no schedule "${name}"; there are ${scheduleNames.join(", ")}`);
  const given: Record<string, number> = {};
  for (const part of colon < 0 ? [] : text.slice(colon + 1).split(",")) {
    const [key = "", value = "", ...rest] = part.split("=");
    if (!kind.options.includes(key)) {
      throw new UsageError(
        `the schedule ${name} has no option "${key}" (in "${text}"); it has ${kind.options.join(", ") || "none"}`,
      );
    }
    if (Object.hasOwn(given, key)) throw new UsageError(`"${text}" gives ${key} twice; give it once`);
    if (value.trim() === "" || rest.length > 0 || !Number.isFinite(Number(value))) {
      throw refused(key, name, "a number", part.slice(key.length + 1) || "nothing");
    }
    given[key] = Number(value);
  }
  const missing = kind.required ? kind.options.find((key) => !Object.hasOwn(given, key)) : undefined;
  if (missing) {
    const example = kind.options.map((key) => `${key}=…`).join(",");
    throw new UsageError(`the schedule ${name} needs ${missing}: write ${name}:${example}`);
  }
  return kind.make(given);
}

function wholeFrom(least: number, option: string, schedule: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw refused(option, schedule, `a whole number of ${least} or more`, value);
}

const refused = (option: string, schedule: string, expected: string, value: number | string): UsageError =>
  new UsageError(`option ${option} of the schedule ${schedule} must be ${expected}, not ${value}`);
