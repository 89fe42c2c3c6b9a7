import { UsageError } from "../errors.ts";
import { parseSchedule } from "../optimizers/schedules.ts";
import { planKeys } from "./define.ts";
import type { Penalty } from "./penalty.ts";
import type { PenaltyPlan } from "./plan.ts";
import { penaltyNamed } from "./table.ts";

/**
 * Reads a penalty from text: a name and, after a colon, its options and `weight`, `include`, `exclude`, `schedule`. A value
 * with commas stands in quotes.
 * @throws UsageError that names the penalty, for an unknown name or option, or a value that cannot be taken
 *
 * @example
 * parsePlan("so");
 * parsePlan("som:rows=random,directions=512,weight=0.1,include=^conv");
 * parsePlan("srip:schedule='cosine:warmup=100,floor=0.1'");
 */
export function parsePlan(text: string): PenaltyPlan {
  const colon = text.indexOf(":");
  const name = colon < 0 ? text : text.slice(0, colon);
  const given = new Map<string, string>();
  for (const part of colon < 0 ? [] : splitAtCommas(text.slice(colon + 1), text)) {
    const equals = part.indexOf("=");
    const key = equals < 0 ? part : part.slice(0, equals);
    if (equals < 0) {
      throw new UsageError(`"${part}" in "${text}" is no option: write key=value`);
    }
    if (given.has(key)) throw new UsageError(`"${text}" gives ${key} twice; give it once`);
    given.set(key, unquoted(part.slice(equals + 1)));
  }
  const own = [...given].filter(([key]) => !planKeys.some((reserved) => reserved === key));
  const penalty = penaltyNamed(name, Object.fromEntries(own));
  const [weight, include, exclude, schedule] = planKeys.map((key) => given.get(key));
  if (schedule !== undefined) parseSchedule(schedule);
  return {
    penalty,
    ...(weight !== undefined && { weight: weightIn(weight, name) }),
    ...(include !== undefined && { include: patternIn(include, name) }),
    ...(exclude !== undefined && { exclude: patternIn(exclude, name) }),
    ...(schedule !== undefined && { schedule }),
  };
}

/** A penalty as {@link parsePlan} reads it: its name, and the options that are not its defaults. */
export function penaltyText({ definition: { name, defaults }, options }: Penalty): string {
  const changed = Object.entries(options).filter(([key, value]) => value !== defaults[key]);
  return changed.length === 0
    ? name
    : `${name}:${changed.map(([key, value]) => `${key}=${value}`).join(",")}`;
}

/** Splits at commas outside quotes. */
function splitAtCommas(text: string, whole: string): string[] {
  const parts = text.match(/(?:'[^']*'|"[^"]*"|[^,'"])+/g) ?? [];
  if (parts.join(",") !== text) {
    throw new UsageError(
      `"${whole}" cannot be read: write name:key=value,key=value, values with commas in quotes`,
    );
  }
  return parts;
}

const unquoted = (value: string): string => /^(['"])(.*)\1$/.exec(value)?.[2] ?? value;

function weightIn(text: string, name: string): number {
  const weight = text.trim() === "" ? Number.NaN : Number(text);
  if (Number.isFinite(weight) && weight >= 0) return weight;
  throw new UsageError(`weight of the penalty ${name} must be a number of at least 0, not "${text}"`);
}

function patternIn(text: string, name: string): RegExp {
  try {
    return new RegExp(text);
  } catch {
    throw new UsageError(`"${text}", which chooses layers of the penalty ${name}, is no regular expression`);
  }
}
