import { UsageError } from "../errors.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { GradientTransformation } from "../optimizers/transformation.ts";

/** @throws UsageError where an optimizer reads no momentum that a step is fed */
export function checkMoved({ uses }: Typed, { name }: GradientTransformation): void {
  if (uses.size > 0) return;
  throw new UsageError(
    `the schedule moves the momentum, but the optimizer ${name} has none that can be moved: take sgd with a momentum, adam or adamw, or leave cycle-momentum out`,
  );
}

/** The error for a momentum in the schedule of a penalty. */
export const movedByPenalty = (): UsageError =>
  new UsageError(
    "the momentum moves with the schedule of the learning rate, not with a penalty's: leave cycle-momentum out there",
  );
