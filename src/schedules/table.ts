import { UsageError } from "../errors.ts";
import { hyphened, nameAndOptions, withoutHyphens } from "../name-and-options.ts";
import { decimal } from "../numbers.ts";
import { constantEntry } from "./constant.ts";
import { cosineEntry } from "./cosine.ts";
import { cosineRestartsEntry } from "./cosine-restarts.ts";
import { exponentialEntry } from "./exponential.ts";
import { inverseSqrtEntry } from "./inverse-sqrt.ts";
import { linearEntry } from "./linear.ts";
import { milestonesEntry } from "./milestones.ts";
import { oneCycleEntry } from "./one-cycle.ts";
import { plateauEntry } from "./plateau.ts";
import { polynomialEntry } from "./polynomial.ts";
import type { Schedule, ScheduleEntry, ScheduleOption } from "./schedule.ts";
import { sripEntry } from "./srip.ts";
import { stableDecayEntry } from "./stable-decay.ts";
import { stepDecayEntry } from "./step-decay.ts";
import { warmupEntry } from "./warmup.ts";

/** Every schedule that can be given by name. */
export const scheduleEntries: readonly ScheduleEntry[] = [
  ...[constantEntry, warmupEntry, linearEntry, cosineEntry, cosineRestartsEntry, oneCycleEntry],
  ...[
    polynomialEntry,
    inverseSqrtEntry,
    stableDecayEntry,
    exponentialEntry,
    stepDecayEntry,
    milestonesEntry,
    plateauEntry,
    sripEntry,
  ],
];

/** Names of the schedules, as {@link parseSchedule} takes them. */
export const scheduleNames: readonly string[] = scheduleEntries.map(({ name }) => name);

/** A schedule's text form with all its options: `cosine:warmup=0,floor=0`, `warmup:steps=…`. */
export function scheduleForm({ name, options }: ScheduleEntry): string {
  const texts = Object.entries(options).map(([key, value]) => `${hyphened(key)}=${value ?? "…"}`);
  return texts.length === 0 ? name : `${name}:${texts.join(",")}`;
}

/**
 * Reads a schedule from text: a name and, after a colon, its options. Durations are steps, epochs (`2ep`) or shares of the run (`10%`).
 * @throws UsageError for an unknown name or option, a missing option, or an invalid value.
 *
 * @example
 * parseSchedule("cosine:warmup=100,floor=0.1");
 * parseSchedule("one-cycle:pct-start=0.2");
 * parseSchedule("step:every=2ep,factor=0.1");
 */
export function parseSchedule(text: string): Schedule {
  const { name, options } = nameAndOptions(text);
  const kind = scheduleEntries.find((entry) => entry.name === name);
  if (!kind) throw new UsageError(`there is no schedule "${name}"; there are ${scheduleNames.join(", ")}`);
  const given: Record<string, ScheduleOption> = {};
  for (const [key, value] of options) {
    const option = withoutHyphens(key);
    if (!Object.hasOwn(kind.options, option)) {
      throw new UsageError(
        `the schedule ${name} has no option "${key}" (in "${text}"); it has ${Object.keys(kind.options).map(hyphened).join(", ") || "none"}`,
      );
    }
    const number = decimal(value);
    given[option] = Number.isFinite(number) ? number : value;
  }
  const [missing] = Object.entries(kind.options).flatMap(([key, value]) =>
    value === undefined && !Object.hasOwn(given, key) ? [key] : [],
  );
  if (missing) {
    throw new UsageError(`the schedule ${name} needs ${hyphened(missing)}: write ${scheduleForm(kind)}`);
  }
  return kind.make(given as never);
}
