/** One measurement: what was counted, and the time. */
type Row = readonly [features: readonly number[], time: number];

/**
 * Coefficients, none below 0, for which Σ (Σ coefficient·feature / time − 1)² is smallest: relative errors count, so that small
 * shapes weigh as much as large ones. One coordinate after the other (Franc, Hlaváč and Navara 2005), to three digits.
 */
export function fitted(rows: readonly Row[]): number[] {
  const width = rows[0]?.[0].length ?? 0;
  const scaled = rows.map(([features, time]) => features.map((feature) => feature / time));
  const found = new Array<number>(width).fill(0);
  const rest = scaled.map(() => -1);
  for (let round = 0; round < 20000; round++) {
    for (let j = 0; j < width; j++) {
      let [slope, curvature] = [0, 0];
      scaled.forEach((row, i) => {
        slope += (row[j] ?? 0) * (rest[i] ?? 0);
        curvature += (row[j] ?? 0) ** 2;
      });
      if (curvature === 0) continue;
      const before = found[j] ?? 0;
      const change = Math.max(0, before - slope / curvature) - before;
      found[j] = before + change;
      scaled.forEach((row, i) => {
        rest[i] = (rest[i] ?? 0) + change * (row[j] ?? 0);
      });
    }
  }
  return found.map((value) => Number(value.toPrecision(3)));
}
