import type { RuleTable } from "../rule.ts";

export const resize = {} satisfies RuleTable;
