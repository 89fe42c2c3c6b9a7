import { checkMatches, matchesAny } from "../analysis/name-patterns.ts";
import type { Site, SkippedSite } from "../analysis/site-types.ts";
import { UsageError } from "../errors.ts";
import type { Schedule } from "../schedules/schedule.ts";
import { parseSchedule } from "../schedules/table.ts";
import type { Penalty } from "./penalty.ts";

/** A penalty, the layers it acts on, and how much it counts. */
export interface PenaltyPlan {
  readonly penalty: Penalty;
  /** Factor of this penalty in the loss; default what its community uses, mostly 1. */
  readonly weight?: number;
  /** Only layers whose name matches; default all. */
  readonly include?: RegExp;
  /** Not layers whose name matches. */
  readonly exclude?: RegExp;
  /** Factor of its weight over a run of training, as text (`cosine:warmup=100`) or a function; default constant. */
  readonly schedule?: string | Schedule;
}

/** A plan with everything decided. */
export interface ResolvedPlan extends PenaltyPlan {
  /** The penalty's name; of the second plan with the same penalty `name.2`, and so on. */
  readonly label: string;
  readonly weight: number;
  /** Its weight relative to that of all plans together. */
  readonly factor: number;
}

/** Plans that make up one penalty: R = Σ factor · R of each, and the loss becomes loss + weight · R. */
export interface ResolvedPlans {
  /** The weight of the first plan that has one above 0. */
  readonly weight: number;
  readonly plans: readonly ResolvedPlan[];
}

/** A plan for a penalty that was given alone: all layers, its usual weight. */
export const planOf = (given: Penalty | PenaltyPlan): PenaltyPlan =>
  "penalty" in given ? given : { penalty: given };

/**
 * Decides what plans leave open.
 * @throws UsageError for a weight that is no number of at least 0, or a schedule that cannot be read
 */
export function resolvePlans(given: readonly (Penalty | PenaltyPlan)[]): ResolvedPlans {
  const counts = new Map<string, number>();
  const plans = given.map((one) => {
    const plan = planOf(one);
    const { name, weight: usual = 1 } = plan.penalty.definition;
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    const label = count === 1 ? name : `${name}.${count}`;
    const weight = plan.weight ?? usual;
    if (!Number.isFinite(weight) || weight < 0) {
      throw new UsageError(`the weight of the penalty ${name} must be a number of at least 0, not ${weight}`);
    }
    if (typeof plan.schedule === "string") parseSchedule(plan.schedule);
    return {
      ...plan,
      ...{ label, weight },
    };
  });
  const weight = commonWeight(plans.map((plan) => plan.weight));
  return {
    weight,
    plans: plans.map((plan) => ({ ...plan, factor: weight === 0 ? 1 : plan.weight / weight })),
  };
}

/** The weight of R, of which those of its parts are multiples: the first one above 0. */
export const commonWeight = (weights: readonly number[]): number =>
  weights.find((weight) => weight > 0) ?? weights[0] ?? 1;

/** Says whose schedule a graph does not follow, because it holds its weights. */
export function tellSchedules(plans: readonly ResolvedPlan[], tell: (message: string) => void): void {
  for (const { label, schedule } of plans) {
    if (schedule === undefined) continue;
    tell(`penalty ${label}: its weight stays the same here; train and step graphs follow its schedule`);
  }
}

/** Whether a plan names a layer. */
export function chooses({ include, exclude }: PenaltyPlan, { names }: Site): boolean {
  return (!include || matchesAny(include, names)) && !(exclude && matchesAny(exclude, names));
}

/**
 * Refuses plans of which a pattern matches no layer, one without a penalty included.
 * @throws UsageError that names the layers that come nearest
 */
export function checkChoices(
  plans: readonly PenaltyPlan[],
  sites: readonly Site[],
  skipped: readonly SkippedSite[],
): void {
  const known = [...sites.map(({ names }) => names), ...skipped.map(({ name }) => [name])];
  for (const { include, exclude } of plans) {
    if (include) checkMatches("--include", include, "layer", known);
    if (exclude) checkMatches("--exclude", exclude, "layer", known);
  }
}
