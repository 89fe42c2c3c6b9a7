/** Numbers counted in bins of one width. */
export interface Distribution {
  /** Where the first bin begins. */
  readonly start: number;
  readonly width: number;
  readonly counts: readonly number[];
}

/** Widths of bins, in degrees. */
const widths = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5] as const;

/**
 * Merges fine bins into coarser ones: the narrowest width that needs at most `bins` of them.
 * @param fine - counts in bins of 1/`fineness`, starting at 0
 * @param min - smallest counted number; `max`: the largest
 */
export function distributionOf(
  fine: Float64Array,
  fineness: number,
  [min, max]: readonly [number, number],
  bins: number,
): Distribution {
  const first = (width: number) => Math.floor(min / width);
  const count = (width: number) => Math.floor(max / width) - first(width) + 1;
  const width = widths.find((candidate) => count(candidate) <= bins) ?? 180 / bins;
  const start = first(width);
  const counts = new Array<number>(count(width)).fill(0);
  fine.forEach((amount, bin) => {
    if (amount === 0) return;
    const at = Math.min(Math.max(Math.floor((bin + 0.5) / fineness / width) - start, 0), counts.length - 1);
    counts[at] = (counts[at] ?? 0) + amount;
  });
  return { start: start * width, width, counts };
}
