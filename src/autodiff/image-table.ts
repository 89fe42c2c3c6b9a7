import { tableOf } from "../lookup.ts";
import type { RuleTable } from "./rule.ts";
import { batchNormalization } from "./rules/batch-normalization.ts";
import { convolution } from "./rules/convolution.ts";
import { pooling } from "./rules/pooling.ts";

/** Rules of the operators that image networks use besides common ones. */
export const imageRules: RuleTable = tableOf({ ...batchNormalization, ...convolution, ...pooling });
