import type { RuleTable } from "../rule.ts";

export const sampling = {} satisfies RuleTable;
