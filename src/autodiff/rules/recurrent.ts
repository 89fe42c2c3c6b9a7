import type { RuleTable } from "../rule.ts";

export const recurrent = {} satisfies RuleTable;
