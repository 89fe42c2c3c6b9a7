import { UsageError } from "../errors.ts";
import { nameAndOptions } from "../name-and-options.ts";
import { constantEntry } from "./constant.ts";
import { cosineEntry } from "./cosine.ts";
import { refused, type Schedule, type ScheduleEntry } from "./schedule.ts";
import { sripEntry } from "./srip.ts";
import { stepDecayEntry } from "./step-decay.ts";
import { warmupEntry } from "./warmup.ts";

/** Every schedule that can be given by name. */
export const scheduleEntries: readonly ScheduleEntry[] = [
  ...[constantEntry, warmupEntry, cosineEntry, stepDecayEntry, sripEntry],
];

/** Names of the schedules, as {@link parseSchedule} takes them. */
export const scheduleNames: readonly string[] = scheduleEntries.map(({ name }) => name);

/** A schedule's text form with all its options: `cosine:warmup=0,floor=0`, `warmup:steps=…`. */
export function scheduleForm({ name, options }: ScheduleEntry): string {
  const texts = Object.entries(options).map(([key, value]) => `${key}=${value ?? "…"}`);
  return texts.length === 0 ? name : `${name}:${texts.join(",")}`;
}

/**
 * Reads a schedule from text: a name and, after a colon, its options.
 * @throws UsageError for an unknown name or option, a missing option, or an invalid value.
 *
 * @example
 * parseSchedule("cosine:warmup=100,floor=0.1");
 * parseSchedule("warmup:steps=100");
 * parseSchedule("step:every=1000,factor=0.1");
 */
export function parseSchedule(text: string): Schedule {
  const { name, options } = nameAndOptions(text);
  const kind = scheduleEntries.find((entry) => entry.name === name);
  if (!kind) throw new UsageError(`there is no schedule "${name}"; there are ${scheduleNames.join(", ")}`);
  const given: Record<string, number> = {};
  for (const [key, value] of options) {
    if (!Object.hasOwn(kind.options, key)) {
      throw new UsageError(
        `the schedule ${name} has no option "${key}" (in "${text}"); it has ${Object.keys(kind.options).join(", ") || "none"}`,
      );
    }
    if (value.trim() === "" || !Number.isFinite(Number(value))) {
      throw refused(key, name, "a number", value || "nothing");
    }
    given[key] = Number(value);
  }
  const [missing] = Object.entries(kind.options).flatMap(([key, value]) =>
    value === undefined && !Object.hasOwn(given, key) ? [key] : [],
  );
  if (missing) {
    throw new UsageError(`the schedule ${name} needs ${missing}: write ${scheduleForm(kind)}`);
  }
  return kind.make(given);
}
