import type { OptionNames } from "../known-options.ts";
import type { LoraOptions } from "./adapter.ts";

/** Names of {@link LoraOptions}. */
export const loraNames = {
  ...{ rank: true, alpha: true, dropout: true, scaling: true, dora: "flag", ia3: "flag" },
  ...{ include: "pattern", exclude: "pattern", feedforward: "pattern", trainHead: "flag", seed: true },
} as const satisfies OptionNames<LoraOptions>;
