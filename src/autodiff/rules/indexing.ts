import type { RuleTable } from "../rule.ts";

export const indexing = {} satisfies RuleTable;
