import type { Size } from "./experiment.ts";
import type { NetworkName } from "./networks.ts";
import type { Pool } from "./pool.ts";
import { type Estimate, estimate, mean, pairedDifference } from "./statistics.ts";
import type { Outcome, Stage, TrainingRun } from "./training-run.ts";

/** One way of training, of several that are compared. */
export interface Variant {
  readonly name: string;
  readonly network: NetworkName;
  readonly stages: readonly Stage[];
}

/** What came of a variant over all seeds. */
export interface VariantResult {
  readonly name: string;
  /** Test accuracy in per cent, one for each seed. */
  readonly accuracies: readonly number[];
  readonly accuracy: Estimate;
  /** Accuracy minus that of the variant compared with, seed by seed; percentage points. */
  readonly gain?: Estimate;
  /** Mean over the layers of the spread of angles, in degrees. */
  readonly weightSpread: Estimate;
  readonly responseSpread: Estimate;
  readonly testLoss: Estimate;
  /** In how many runs the loss stopped being a number. */
  readonly diverged: number;
}

/** The runs of a variant, one for each seed. */
export const runsOf = (
  { network, stages }: Variant,
  seeds: readonly number[],
  { validation, test }: Size,
): TrainingRun[] => seeds.map((seed) => ({ network, seed, stages, validation, test }));

/**
 * Trains all variants with all seeds.
 * @param baseline - the name of the variant that another is compared with; undefined for none
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

/** For files: noise below these digits says nothing. */
export const round = (value: number, digits: number): number => Number(value.toFixed(digits));

const rounded = ({ mean, margin }: Estimate, digits = 2): Estimate => ({
  mean: round(mean, digits),
  margin: round(margin, digits),
});
