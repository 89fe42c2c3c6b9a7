import type { Size } from "./experiment.ts";
import type { NetworkName } from "./networks.ts";
import type { Pool } from "./pool.ts";
import { type Estimate, estimate, mean, pairedDifference } from "./statistics.ts";
import type { Outcome, Stage, TrainingRun } from "./training-run.ts";

/** One of several compared ways of training. */
export interface Variant {
  readonly name: string;
  readonly network: NetworkName;
  readonly stages: readonly Stage[];
}

/** The results of a variant over all seeds. */
export interface VariantResult {
  readonly name: string;
  /** Test accuracy in per cent for each seed. */
  readonly accuracies: readonly number[];
  readonly accuracy: Estimate;
  /** Accuracy minus that of the baseline variant, seed by seed, in percentage points. */
  readonly gain?: Estimate;
  /** Mean over the layers of the spread of angles, in degrees. */
  readonly weightSpread: Estimate;
  readonly responseSpread: Estimate;
  readonly testLoss: Estimate;
  /** Number of runs in which the loss became NaN or infinite. */
  readonly diverged: number;
}

/** The runs of a variant, one per seed. */
export const runsOf = (
  { network, stages }: Variant,
  seeds: readonly number[],
  { validation, test }: Size,
): TrainingRun[] => seeds.map((seed) => ({ network, seed, stages, validation, test }));

/**
 * Trains all variants with all seeds.
 * @param baseline - returns the name of a variant's baseline; undefined for none
 */
export async function compare(
  pool: Pool,
  variants: readonly Variant[],
  size: Size,
  baseline: (variant: Variant) => string | undefined,
): Promise<VariantResult[]> {
  const outcomes = await Promise.all(variants.map((variant) => pool.all(runsOf(variant, size.seeds, size))));
  const accuracies = outcomes.map((runs) => runs.map(({ test }) => percent(test)));
  return variants.map((variant, i) => {
    const runs = outcomes[i] ?? [];
    const own = accuracies[i] ?? [];
    const other = variants.findIndex(({ name }) => name === baseline(variant));
    return {
      ...{ name: variant.name, accuracies: own, accuracy: rounded(estimate(own)) },
      ...(other >= 0 && other !== i && { gain: rounded(pairedDifference(own, accuracies[other] ?? [])) }),
      weightSpread: rounded(estimate(runs.map((run) => meanSpread(run, "weights")))),
      responseSpread: rounded(estimate(runs.map((run) => meanSpread(run, "responses")))),
      testLoss: rounded(estimate(runs.map(({ testLoss }) => testLoss)), 4),
      diverged: runs.filter(({ divergedAt }) => divergedAt !== undefined).length,
    };
  });
}

/** Mean over the layers that have pairs of living units. */
export const meanSpread = ({ layers }: Outcome, of: "weights" | "responses"): number =>
  mean(layers.map((layer) => layer[of]).filter(Number.isFinite));

/** A share as per cent, to 0.01. */
export const percent = (share: number): number => round(100 * share, 2);

/** Rounds numbers for result files; further digits are noise. */
export const round = (value: number, digits: number): number => Number(value.toFixed(digits));

const rounded = ({ mean, margin }: Estimate, digits = 2): Estimate => ({
  mean: round(mean, digits),
  margin: round(margin, digits),
});
