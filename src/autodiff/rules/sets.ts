import type { RuleTable } from "../rule.ts";

export const sets = {} satisfies RuleTable;
