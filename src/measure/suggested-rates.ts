/** A learning rate and the smoothed loss there. */
interface Point {
  readonly learningRate: number;
  readonly smoothed: number;
}

/** Points at the end that say nothing: the loss diverges there. */
const lastLeftOut = { steepest: 1, valley: 5 };

/**
 * Learning rates that a curve of losses over rising rates suggests; the rates grow by a constant factor. The first tenth of the
 * steps is left out, because the running mean of the losses has not settled there.
 * @param steps - how many points the curve was to have; it may have ended early
 * @returns `steepest`: where the loss falls fastest over the logarithm of the rate (PyTorch Lightning); `valley`: a third and
 * a sixth into the longest fall (fastai); undefined where the loss does not fall
 */
export function suggestedRates(
  points: readonly Point[],
  steps: number,
): {
  readonly steepest: number | undefined;
  readonly valley: number | undefined;
} {
  const first = Math.floor(steps / 10);
  const between = (last: number) => points.slice(first, Math.max(first, points.length - last));
  return {
    steepest: steepest(between(lastLeftOut.steepest))?.learningRate,
    valley: valley(between(lastLeftOut.valley))?.learningRate,
  };
}

/** The point with the smallest slope: central differences, and one-sided ones at the ends, as numpy.gradient. */
function steepest(points: readonly Point[]): Point | undefined {
  let best: { readonly slope: number; readonly point: Point } | undefined;
  for (const [i, point] of points.entries()) {
    const [before, after] = [Math.max(0, i - 1), Math.min(points.length - 1, i + 1)];
    const slope = ((points[after] ?? point).smoothed - (points[before] ?? point).smoothed) / (after - before);
    if (slope < (best?.slope ?? 0)) best = { slope, point };
  }
  return best?.point;
}

/** A point in the longest sequence of points, not all of them neighbours, along which the loss falls. */
function valley(points: readonly Point[]): Point | undefined {
  const lengths = new Array<number>(points.length).fill(1);
  let end = 0;
  for (const [i, { smoothed }] of points.entries()) {
    for (let j = 0; j < i; j++) {
      const longer = (lengths[j] ?? 0) + 1;
      if (smoothed < (points[j]?.smoothed ?? 0) && longer > (lengths[i] ?? 0)) lengths[i] = longer;
    }
    if ((lengths[i] ?? 0) > (lengths[end] ?? 0)) end = i;
  }
  const length = lengths[end] ?? 0;
  if (length < 2) return undefined;
  const third = Math.floor(length / 3);
  return points[Math.max(0, end - length + third + Math.floor(length / 6))];
}
