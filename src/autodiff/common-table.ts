import { tableOf } from "../lookup.ts";
import type { RuleTable } from "./rule.ts";
import { activations } from "./rules/activations.ts";
import { arithmetic } from "./rules/arithmetic.ts";
import { constants } from "./rules/constants.ts";
import { elementwise } from "./rules/elementwise.ts";
import { indexing } from "./rules/indexing.ts";
import { linearAlgebra } from "./rules/linear-algebra.ts";
import { reductions } from "./rules/reductions.ts";
import { shape } from "./rules/shape.ts";

/** Rules of the operators of which most networks consist. A page loads these first. */
export const commonRules: RuleTable = tableOf({
  ...activations,
  ...arithmetic,
  ...constants,
  ...indexing,
  ...elementwise,
  ...linearAlgebra,
  ...reductions,
  ...shape,
});
