import type { OptionNames } from "../known-options.ts";
import type { AngleOptions } from "./angle-report.ts";
import type { RunLimits } from "./unit-sample.ts";

/** Names of what both kinds of angles take: {@link AngleOptions}, and the limits that runs set. */
export const angleNames = {
  ...{ full: true, bins: true, mapSize: true, onLayer: true },
  ...{ share: true, forward: true, onLimit: true },
} as const satisfies OptionNames<AngleOptions & RunLimits>;
