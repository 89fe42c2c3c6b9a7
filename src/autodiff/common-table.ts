import { tableOf } from "../lookup.ts";
import type { RuleTable } from "./rule.ts";
import { activations } from "./rules/activations.ts";
import { arithmetic } from "./rules/arithmetic.ts";
import { linearAlgebra } from "./rules/linear-algebra.ts";
import { shape } from "./rules/shape.ts";

/** Rules of the operators of which the simplest networks consist. A page loads these first. */
export const commonRules: RuleTable = tableOf({
  ...activations,
  ...arithmetic,
  ...linearAlgebra,
  ...shape,
});
