import type { OptionNames } from "../known-options.ts";
import type { LoraOptions } from "./adapter.ts";

/** Names of {@link LoraOptions}. */
export const loraNames = {
  ...{ rank: true, alpha: true, dropout: true, scaling: true, dora: true, ia3: true },
  ...{ include: "pattern", exclude: "pattern", feedforward: "pattern", trainHead: true, seed: true },
} as const satisfies OptionNames<LoraOptions>;
