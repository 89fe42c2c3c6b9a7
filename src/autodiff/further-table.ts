import { tableOf } from "../lookup.ts";
import type { RuleTable } from "./rule.ts";
import { constants } from "./rules/constants.ts";
import { elementwise } from "./rules/elementwise.ts";
import { indexing } from "./rules/indexing.ts";
import { reductions } from "./rules/reductions.ts";

/** Rules of operators that many networks have besides layers and activations. */
export const furtherRules: RuleTable = tableOf({ ...constants, ...indexing, ...elementwise, ...reductions });
