/** A place where the forward pass can be cut. */
interface Place {
  /** Position of the node behind which it lies. */
  readonly at: number;
  /** Bytes of the value that is kept there. */
  readonly bytes: number;
}

/**
 * The places at which a forward pass is cut so that the peak of its memory is smallest: the values kept at the places, and what
 * is kept inside the largest segment while the gradients of that segment are computed. For equal layers these are about √n
 * segments of n layers; where a place is much narrower than the layers before it, every place.
 * @param inner - bytes that the backward pass reads of each node's results
 * @returns indices of places, in order; none if cutting saves nothing
 */
export function chooseSegments(places: readonly Place[], inner: readonly number[]): readonly number[] {
  const sums = [0];
  for (const bytes of inner) sums.push((sums.at(-1) ?? 0) + bytes);
  const between = (from: number, to: number) => (sums[to] ?? 0) - (sums[from] ?? 0);
  const whole = between(0, inner.length);
  let best: readonly number[] = [];
  let least = whole;
  for (let count = 2; count <= places.length + 1; count++) {
    const chosen = segmentsUpTo(whole / count, places, between, inner.length);
    const starts = [0, ...chosen.map((i) => (places[i]?.at ?? 0) + 1)];
    const sizes = starts.map((start, i) => between(start, starts[i + 1] ?? inner.length));
    const peak = chosen.reduce((sum, i) => sum + (places[i]?.bytes ?? 0), 0) + Math.max(...sizes);
    if (peak < least) [best, least] = [chosen, peak];
  }
  return best;
}

/** The fewest places that leave no segment larger than `most`, where they lie close enough. */
function segmentsUpTo(
  most: number,
  places: readonly Place[],
  between: (from: number, to: number) => number,
  end: number,
): number[] {
  const chosen: number[] = [];
  let start = 0;
  for (const [i, { at }] of places.entries()) {
    const next = places[i + 1]?.at ?? end - 1;
    if (between(start, next + 1) <= most * 1.001) continue;
    chosen.push(i);
    start = at + 1;
  }
  return chosen;
}
