import type { RuleTable } from "../rule.ts";

export const einsum = {} satisfies RuleTable;
