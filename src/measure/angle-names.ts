import type { OptionNames } from "../known-options.ts";
import type { AngleOptions } from "./angle-report.ts";
import type { RunLimits } from "./unit-sample.ts";

/** Names of what both kinds of angles take: {@link AngleOptions}, and the limits that runs set. */
export const angleNames = {
  ...{ full: "flag", bins: true, mapSize: true, onLayer: "function" },
  ...{ share: true, forward: true, onLimit: "function" },
} as const satisfies OptionNames<AngleOptions & RunLimits>;
