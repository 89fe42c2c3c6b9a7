import type { Conditions } from "./step-results.ts";

/** The choices of a run of the benchmark. */
export interface Run {
  readonly threads: number;
  readonly rounds: number;
  /** Least milliseconds of a contender in a round: at least twice what one run of this library takes, so that a round holds whole runs. */
  readonly milliseconds: number;
  /** Whether PyTorch takes part. */
  readonly torch: boolean;
  /** Whether results are written. */
  readonly writes: boolean;
  readonly conditions: () => Conditions;
}
