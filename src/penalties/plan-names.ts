import { checkKnown, type OptionNames } from "../known-options.ts";
import type { Penalty } from "./penalty.ts";
import type { PenaltyPlan } from "./plan.ts";

const planNames = {
  ...{ penalty: true, weight: true, include: "pattern", exclude: "pattern", schedule: true, frozen: true },
} as const satisfies OptionNames<PenaltyPlan>;

/** @throws UsageError for a plan with a field that nobody reads */
export function checkPlanNames(penalties: readonly (Penalty | PenaltyPlan)[]): void {
  for (const plan of penalties) if ("penalty" in plan) checkKnown("the plan of a penalty", plan, planNames);
}
