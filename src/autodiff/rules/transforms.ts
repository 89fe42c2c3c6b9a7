import type { RuleTable } from "../rule.ts";

export const transforms = {} satisfies RuleTable;
