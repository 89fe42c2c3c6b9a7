import { UsageError } from "../errors.ts";
import { nameAndOptions } from "../name-and-options.ts";
import { decimal } from "../numbers.ts";
import { regularExpression } from "../regular-expression.ts";
import { anyPenaltyNamed } from "./adapters/table.ts";
import { planKeys, presetKey } from "./define.ts";
import type { Penalty, PenaltyOptions } from "./penalty.ts";
import type { PenaltyPlan } from "./plan.ts";
import { penaltyNames, presetNamed } from "./table.ts";

/**
 * Reads a penalty from text: a name and, after a colon, its options and `weight`, `include`, `exclude`, `schedule`. Values with
 * commas are quoted. A schedule stays a text, which is read when the penalty is used. `preset=NAME` takes options and weight from a preset, unless the text gives others.
 * @throws UsageError that names the penalty, for an unknown name or option, or an invalid value
 *
 * @example
 * parsePlan("so");
 * parsePlan("som:preset=source,weight=0.1");
 * parsePlan("som:rows=random,directions=512,weight=0.1,include=^conv");
 * parsePlan("srip:schedule='cosine:warmup=100,floor=0.1'");
 */
export function parsePlan(text: string): PenaltyPlan {
  const { name, options: given } = nameAndOptions(text);
  const reserved: readonly string[] = [...planKeys, presetKey];
  const own = Object.fromEntries([...given].filter(([key]) => !reserved.includes(key)));
  const preset = given.get(presetKey);
  const plan = preset === undefined ? { penalty: anyPenaltyNamed(name, own) } : presetOf(name, preset, own);
  const [weight, include, exclude, schedule] = planKeys.map((key) => given.get(key));
  return {
    ...plan,
    ...(weight !== undefined && { weight: weightIn(weight, name) }),
    ...(include !== undefined && { include: patternIn(include, name) }),
    ...(exclude !== undefined && { exclude: patternIn(exclude, name) }),
    ...(schedule !== undefined && { schedule }),
  };
}

/**
 * Writes a penalty as {@link parsePlan} reads it: its name, the options that differ from the defaults, and those that are
 * always shown (λ1, λ2 and γ of SOM).
 */
export function penaltyText({ definition: { name, defaults, said = [] }, options }: Penalty): string {
  const always: readonly string[] = said;
  const changed = Object.entries(options).filter(
    ([key, value]) => value !== defaults[key] || always.includes(key),
  );
  return changed.length === 0
    ? name
    : `${name}:${changed.map(([key, value]) => `${key}=${value}`).join(",")}`;
}

/** Writes a penalty with its weight, and its patterns and schedule if given, as {@link parsePlan} reads it. */
export function planText(plan: PenaltyPlan): string {
  const { penalty, include, exclude, schedule, weight = penalty.definition.weight ?? 1 } = plan;
  const parts = [
    `weight=${weight}`,
    ...(include ? [`include='${include.source}'`] : []),
    ...(exclude ? [`exclude='${exclude.source}'`] : []),
    ...(typeof schedule === "string" ? [`schedule='${schedule}'`] : []),
  ];
  const text = penaltyText(penalty);
  return `${text}${text.includes(":") ? "," : ":"}${parts.join(",")}`;
}

/** A preset of a penalty. Penalties on adapters have none, and unknown ones are refused by name. */
function presetOf(name: string, preset: string, own: PenaltyOptions): PenaltyPlan {
  const known = penaltyNames.includes(name) ? undefined : anyPenaltyNamed(name);
  if (known) throw new UsageError(`the penalty ${name} has no preset "${preset}"; it has none`);
  return presetNamed(name, preset, own);
}

function weightIn(text: string, name: string): number {
  const weight = decimal(text);
  if (Number.isFinite(weight) && weight >= 0) return weight;
  throw new UsageError(`weight of the penalty ${name} must be a number of at least 0, not "${text}"`);
}

function patternIn(text: string, name: string): RegExp {
  try {
    return regularExpression(text);
  } catch {
    throw new UsageError(`"${text}", which chooses layers of the penalty ${name}, is no regular expression`);
  }
}
