import type { RuleTable } from "../rule.ts";

export const rearrangement = {} satisfies RuleTable;
