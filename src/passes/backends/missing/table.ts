import { tableOf } from "../../../lookup.ts";
import { arrangements } from "./arrangements.ts";
import { attentions } from "./attention.ts";
import { classes } from "./classes.ts";
import { elementwise } from "./elementwise.ts";
import { normalizations } from "./normalizations.ts";
import { pools } from "./pools.ts";
import { recurrent } from "./recurrent.ts";
import type { WrittenOutTable } from "./written-out.ts";

/** How operators that a device lacks are written out. */
export const writtenOut: WrittenOutTable = tableOf({
  ...elementwise,
  ...classes,
  ...normalizations,
  ...attentions,
  ...arrangements,
  ...pools,
  ...recurrent,
});
