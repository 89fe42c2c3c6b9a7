import { UsageError } from "../errors.ts";
import type { Objective } from "../losses/objective.ts";
import { type MeasuringPass, measuring } from "../metrics/measuring.ts";
import type { Metric } from "../metrics/metric.ts";

/** One of the losses whose prediction metrics may look at. */
interface Measurable<T> {
  readonly term: T;
  /** Undefined for a loss that only a graph computes. */
  readonly objective: Objective | undefined;
  /** The shape of its prediction for a batch; undefined if the loss has none outside of a graph. */
  readonly shape: readonly number[] | undefined;
  readonly isMasked: boolean;
}

/**
 * The first of several losses for which metrics are defined, and what computes them.
 * @param batch - samples of a batch
 * @throws UsageError for metrics that are not defined for any of the losses
 */
export function measuredTerm<T>(
  metrics: readonly (string | Metric)[],
  terms: readonly Measurable<T>[],
  batch: number,
): { readonly term: T; readonly begin: () => MeasuringPass } {
  let reason: unknown;
  for (const { term, objective, shape, isMasked } of terms) {
    if (!objective || !shape) continue;
    try {
      return { term, begin: measuring(metrics, objective, shape, batch, isMasked) };
    } catch (error) {
      reason ??= error;
    }
  }
  throw (
    reason ??
    new UsageError(
      "metrics need a loss that compares a prediction with labels outside the graph, and this run has none: leave metrics out",
    )
  );
}
