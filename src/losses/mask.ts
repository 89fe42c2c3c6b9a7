import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Shape } from "../graph/shapes.ts";

/** A shape without one of its axes. */
export const without = (shape: Shape, axis: number): Shape => shape.filter((_, at) => at !== axis);

/** How a loss takes the mean over the places that count. */
interface CountedPlaces {
  /** The labels, 0 at places that do not count, so that nothing there, however large, reaches the loss. */
  readonly labels: (labels: Typed) => Typed;
  /** The mean of numbers over the places that count. They have the prediction's shape, or 1 in place of the axis. */
  readonly mean: (each: Typed) => Typed;
  /** The gradient of that mean, from the gradient of the mean over all places. */
  readonly slope: (slopes: Typed) => Typed;
}

/**
 * The places that a mask counts, those above 0; all places without a mask.
 * @param axis - the axis of the prediction that the mask lacks; undefined if it has them all
 */
export function countedPlaces(
  g: Emit,
  mask: Typed | undefined,
  { type }: Typed,
  axis?: number,
): CountedPlaces {
  if (!mask)
    return { labels: (labels) => labels, mean: (each) => g.meanOfAll(each), slope: (slopes) => slopes };
  const spread = (value: Typed) => (axis === undefined ? value : g.unsqueeze(value, [axis]));
  const above = spread(g.greater(mask, 0));
  const counts = g.indicator(above, type);
  // The share of places that count, kept above 0 so that a batch without one has the loss 0.
  const share = g.max(g.overShards(g.meanOfAll(counts), "mean"), 1e-30);
  return {
    labels: (labels) => g.where(above, labels, 0),
    mean: (each) => g.div(g.meanOfAll(g.mul(each, counts)), share),
    slope: (slopes) => g.mul(slopes, g.div(counts, share)),
  };
}
