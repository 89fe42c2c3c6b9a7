import type { RuleTable } from "../rule.ts";

export const padding = {} satisfies RuleTable;
