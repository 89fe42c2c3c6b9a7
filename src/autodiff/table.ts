import { tableOf } from "../lookup.ts";
import { commonRules } from "./common-table.ts";
import { furtherRules } from "./further-table.ts";
import { imageRules } from "./image-table.ts";
import type { RuleTable } from "./rule.ts";
import { attention } from "./rules/attention.ts";
import { classical } from "./rules/classical.ts";
import { controlFlow } from "./rules/control-flow.ts";
import { einsum } from "./rules/einsum.ts";
import { losses } from "./rules/losses.ts";
import { microsoft } from "./rules/microsoft.ts";
import { normalization } from "./rules/normalization.ts";
import { padding } from "./rules/padding.ts";
import { quantization } from "./rules/quantization.ts";
import { rearrangement } from "./rules/rearrangement.ts";
import { recurrent } from "./rules/recurrent.ts";
import { resize } from "./rules/resize.ts";
import { sampling } from "./rules/sampling.ts";
import { scans } from "./rules/scans.ts";
import { scatter } from "./rules/scatter.ts";
import { sets } from "./rules/sets.ts";
import { transforms } from "./rules/transforms.ts";

/** Every operator that this version knows: with a derivative, with a zero gradient, or refused with a reason. */
export const rules: RuleTable = tableOf({
  ...commonRules,
  ...furtherRules,
  ...imageRules,
  ...classical,
  ...quantization,
  ...scans,
  ...scatter,
  ...einsum,
  ...rearrangement,
  ...padding,
  ...resize,
  ...sampling,
  ...attention,
  ...microsoft,
  ...recurrent,
  ...transforms,
  ...sets,
  ...controlFlow,
  ...losses,
  ...normalization,
});
