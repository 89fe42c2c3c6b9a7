import type { OptionNames } from "../known-options.ts";
import type { DimensionOptions } from "./dimensions.ts";
import type { ParameterOptions } from "./parameters.ts";
import type { ShareOptions } from "./shared-initializers.ts";

/** Names of {@link DimensionOptions}. */
export const dimensionNames = {
  ...{ batch: true, dims: "lengths", open: "flag", past: "lengths" },
} as const satisfies OptionNames<DimensionOptions>;

/** Names of {@link ParameterOptions}. */
export const parameterNames = {
  ...{ trainable: "pattern", alsoTrain: "pattern", freeze: "pattern" },
} as const satisfies OptionNames<ParameterOptions>;

/** Names of {@link ShareOptions}. */
export const shareNames = { tie: "pattern", untie: "pattern" } as const satisfies OptionNames<ShareOptions>;
