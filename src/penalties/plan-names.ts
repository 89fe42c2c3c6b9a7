import { checkFields, checkList } from "../check-arguments.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { isObject } from "../what-is.ts";
import type { Penalty } from "./penalty.ts";
import type { PenaltyPlan } from "./plan.ts";

const planNames = {
  ...{ penalty: true, weight: true, include: "pattern", exclude: "pattern", schedule: true, frozen: true },
} as const satisfies OptionNames<PenaltyPlan>;

/** @throws UsageError for a plan with a field that nobody reads */
export function checkPlanNames(penalties: readonly (Penalty | PenaltyPlan)[]): void {
  checkList("penalties", penalties);
  for (const plan of penalties) {
    const penalty = isObject(plan) && "penalty" in plan ? plan.penalty : plan;
    checkFields(
      "a penalty is what som() or another one gives, or { penalty, weight }",
      penalty,
      "definition",
    );
    if ("penalty" in plan) checkKnown("the plan of a penalty", plan, planNames);
  }
}
