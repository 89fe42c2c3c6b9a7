import { tableOf } from "../lookup.ts";
import type { RuleTable } from "./rule.ts";
import { activations } from "./rules/activations.ts";
import { arithmetic } from "./rules/arithmetic.ts";
import { attention } from "./rules/attention.ts";
import { batchNormalization } from "./rules/batch-normalization.ts";
import { classical } from "./rules/classical.ts";
import { constants } from "./rules/constants.ts";
import { controlFlow } from "./rules/control-flow.ts";
import { convolution } from "./rules/convolution.ts";
import { einsum } from "./rules/einsum.ts";
import { elementwise } from "./rules/elementwise.ts";
import { indexing } from "./rules/indexing.ts";
import { linearAlgebra } from "./rules/linear-algebra.ts";
import { losses } from "./rules/losses.ts";
import { microsoft } from "./rules/microsoft.ts";
import { normalization } from "./rules/normalization.ts";
import { padding } from "./rules/padding.ts";
import { pooling } from "./rules/pooling.ts";
import { quantization } from "./rules/quantization.ts";
import { rearrangement } from "./rules/rearrangement.ts";
import { recurrent } from "./rules/recurrent.ts";
import { reductions } from "./rules/reductions.ts";
import { resize } from "./rules/resize.ts";
import { sampling } from "./rules/sampling.ts";
import { scans } from "./rules/scans.ts";
import { scatter } from "./rules/scatter.ts";
import { sets } from "./rules/sets.ts";
import { shape } from "./rules/shape.ts";
import { transforms } from "./rules/transforms.ts";

/** Every operator this version knows: with a derivative, with a zero one, or refused with a reason. */
export const rules: RuleTable = tableOf({
  ...activations,
  ...arithmetic,
  ...classical,
  ...constants,
  ...quantization,
  ...scans,
  ...scatter,
  ...einsum,
  ...indexing,
  ...rearrangement,
  ...padding,
  ...resize,
  ...sampling,
  ...attention,
  ...microsoft,
  ...recurrent,
  ...transforms,
  ...sets,
  ...batchNormalization,
  ...controlFlow,
  ...convolution,
  ...elementwise,
  ...linearAlgebra,
  ...losses,
  ...normalization,
  ...pooling,
  ...reductions,
  ...shape,
});
