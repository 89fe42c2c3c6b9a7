import type { Site } from "../analysis/site-types.ts";
import type { Penalty } from "./penalty.ts";

/** A penalty and the layers it acts on. */
export interface PenaltyPlan {
  readonly penalty: Penalty;
  /** Factor of this penalty in the loss; default 1. */
  readonly weight?: number;
  /** Only layers whose name matches; default all. */
  readonly include?: RegExp;
  /** Not layers whose name matches. */
  readonly exclude?: RegExp;
}

/** Whether a plan names a layer. */
export function chooses(plan: PenaltyPlan, site: Site): boolean {
  return (plan.include?.test(site.name) ?? true) && !(plan.exclude?.test(site.name) ?? false);
}
