import type { RuleTable } from "./rule.ts";
import { batchNormalization } from "./rules/batch-normalization.ts";
import { convolution } from "./rules/convolution.ts";
import { elementwise } from "./rules/elementwise.ts";
import { linearAlgebra } from "./rules/linear-algebra.ts";
import { losses } from "./rules/losses.ts";
import { normalization } from "./rules/normalization.ts";
import { pooling } from "./rules/pooling.ts";
import { reductions } from "./rules/reductions.ts";
import { shape } from "./rules/shape.ts";

/** Every operator this version knows: with a derivative, with a zero one, or refused with a reason. */
export const rules: RuleTable = {
  ...batchNormalization,
  ...convolution,
  ...elementwise,
  ...linearAlgebra,
  ...losses,
  ...normalization,
  ...pooling,
  ...reductions,
  ...shape,
};
