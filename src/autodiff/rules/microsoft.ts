import type { RuleTable } from "../rule.ts";

export const microsoft = {} satisfies RuleTable;
