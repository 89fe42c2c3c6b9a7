import type { CurvePoint } from "../plots/curves.ts";

/** Most points of a drawn curve. */
const mostPoints = 240;

/**
 * A curve of at most 240 points. Each point is the mean of a group of neighbours, with their smallest and largest value as a
 * band. Shorter curves stay unchanged. Means skip numbers that are not finite.
 */
export function thinned(points: readonly { readonly x: number; readonly y: number }[]): CurvePoint[] {
  if (points.length <= mostPoints) return [...points];
  const size = Math.ceil(points.length / mostPoints);
  return Array.from({ length: Math.ceil(points.length / size) }, (_, part) => {
    const group = points.slice(part * size, (part + 1) * size);
    const values = group.map(({ y }) => y).filter(Number.isFinite);
    const sum = values.reduce((total, value) => total + value, 0);
    const last = group.at(-1);
    return {
      x: last?.x ?? 0,
      y: values.length > 0 ? sum / values.length : Number.NaN,
      low: values.length > 0 ? Math.min(...values) : Number.NaN,
      high: values.length > 0 ? Math.max(...values) : Number.NaN,
    };
  });
}
