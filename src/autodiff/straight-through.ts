import type { Rule, RuleTable } from "./rule.ts";

/** The gradient of a rounded number is that of the number itself (arXiv 1308.3432). */
const passedOn: Rule = { vjp: (_, dy) => [() => dy], samples: [{ inputs: [[2, 3]] }] };

/**
 * Entries that take the place of those of the table where gradients pass straight through what rounds. Quantizers are written with
 * Round before ({@link writeOutQuantizers}).
 */
export const straightThrough: RuleTable = {
  Round: passedOn,
  Floor: passedOn,
  Ceil: passedOn,
  Sign: passedOn,
  DynamicQuantizeLinear: { constant: "its scale is taken as given" },
};
