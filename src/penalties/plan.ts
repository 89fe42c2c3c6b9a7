import { checkMatches, matchesAny } from "../analysis/name-patterns.ts";
import type { Site, SkippedSite } from "../analysis/site-types.ts";
import { UsageError } from "../errors.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { Schedule } from "../schedules/schedule.ts";
import type { Penalty } from "./penalty.ts";

/** A penalty, the layers it acts on, and how much it counts. */
export interface PenaltyPlan {
  readonly penalty: Penalty;
  /** Factor of this penalty in the loss; default the penalty's usual one, mostly 1. */
  readonly weight?: number;
  /** Only layers whose name matches; default all. */
  readonly include?: RegExp;
  /** Exclude layers whose name matches. */
  readonly exclude?: RegExp;
  /** Factor of its weight over the steps of a training run, as text (`cosine:warmup=100`) or a function; default constant. */
  readonly schedule?: string | Schedule;
  /** Frozen vectors for a penalty on adapters, by the names of the adapters' A; a trainer fills them in. */
  readonly frozen?: FrozenVectors;
}

/** For each adapter the matrices with which it is compared, or why there are none. */
export type FrozenVectors = ReadonlyMap<string, Readonly<Record<string, Tensor>> | string>;

/** A plan with all defaults filled in. */
export interface ResolvedPlan extends PenaltyPlan {
  /** The penalty's name; the second plan with the same penalty is `name.2`, and so on. */
  readonly label: string;
  readonly weight: number;
  /** Its weight relative to the common weight of all plans. */
  readonly factor: number;
}

/** Plans that together make up R = Σ factor · (R of each plan); the loss becomes loss + weight · R. */
export interface ResolvedPlans {
  /** The weight of the first plan that has one above 0. */
  readonly weight: number;
  readonly plans: readonly ResolvedPlan[];
}

/** The plan of a penalty given without one: all layers, its usual weight. */
export const planOf = (given: Penalty | PenaltyPlan): PenaltyPlan =>
  "penalty" in given ? given : { penalty: given };

/**
 * Fills in the defaults of plans.
 * @throws UsageError for a weight that is not a number of at least 0
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

/** The weight of R: the first weight above 0. The weights of its parts are multiples of it. */
export const commonWeight = (weights: readonly number[]): number =>
  weights.find((weight) => weight > 0) ?? weights[0] ?? 1;

/** Warns about each plan whose schedule the graph ignores, because its weights are constants there. */
export function tellSchedules(plans: readonly ResolvedPlan[], tell: (message: string) => void): void {
  for (const { label, schedule } of plans) {
    if (schedule === undefined) continue;
    tell(`penalty ${label}: its weight stays the same here; train and step graphs follow its schedule`);
  }
}

/** Whether a plan's patterns select a layer. */
export function chooses({ include, exclude }: PenaltyPlan, { names }: Site): boolean {
  return (!include || matchesAny(include, names)) && !(exclude && matchesAny(exclude, names));
}

/**
 * Refuses plans with a pattern that matches no layer. Layers that take no penalty count as matched.
 * @throws UsageError that lists the layers with the most similar names
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
