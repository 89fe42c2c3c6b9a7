import type { RuleTable } from "../rule.ts";

export const attention = {} satisfies RuleTable;
