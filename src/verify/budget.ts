import { UsageError } from "../errors.ts";
import { type InjectedSite, readsResponses } from "./sites.ts";

/** Multiplications that the float64 references of a report take at most, unless the caller says otherwise: some 20 s. */
const usual = 20e9;

/** Numbers of a layer at most: the reference's copies take some forty bytes for each. */
const mostNumbers = 2 ** 25;

/** Rows on which a gradient is looked at, at most, but a whole sample. */
const mostRows = 2 ** 14;

/** Evaluations of the reference that a value needs, and a gradient. */
const evaluations = { value: 2, gradient: 7 } as const;

/** What of a layer is looked at. */
export interface Share {
  readonly value: boolean;
  readonly gradient: boolean;
  /** The layer's size in words. */
  readonly size: string;
}

/**
 * Shares a budget out: first the values of all layers, the smaller ones first, then their gradients.
 * @param budget - thousand millions of multiplications; 0 for no bound
 * @throws UsageError for a budget below 0
 */
export function sharesOf(
  sites: readonly InjectedSite[],
  budget: number | undefined,
  samples: number,
): Map<InjectedSite, Share> {
  if (budget !== undefined && !(budget >= 0)) {
    throw new UsageError(`the budget must be a number of at least 0, not ${budget}`);
  }
  const unbounded = budget === 0;
  let left = unbounded ? Number.POSITIVE_INFINITY : budget === undefined ? usual : budget * 1e9;
  const takes = (work: number): boolean => {
    if (work > left) return false;
    left -= work;
    return true;
  };
  const bySize = [...sites].sort((a, b) => workOf(a, a.site.rows) - workOf(b, b.site.rows));
  const values = new Set(
    bySize.filter((injected) => {
      const fits = unbounded || numbersOfLayer(injected) <= mostNumbers;
      return fits && takes(evaluations.value * workOf(injected, injected.site.rows));
    }),
  );
  const gradients = new Set(
    bySize.filter((injected) => {
      const rows = rowsOfSamples(injected, samplesForGradient(injected, samples), samples);
      return values.has(injected) && takes(evaluations.gradient * workOf(injected, rows));
    }),
  );
  return new Map(
    sites.map((injected) => [
      injected,
      { value: values.has(injected), gradient: gradients.has(injected), size: sizeOf(injected) },
    ]),
  );
}

/** Samples of a layer's response on which its gradient is looked at. */
export function samplesForGradient(injected: InjectedSite, samples: number): number {
  const { rows, rowsFixed } = injected.site;
  if (rowsFixed || rows <= mostRows) return samples;
  return Math.max(1, Math.floor((samples * mostRows) / rows));
}

const rowsOfSamples = ({ site: { rows } }: InjectedSite, some: number, all: number): number =>
  (rows * some) / all;

/** Multiplications for the products of all pairs of a layer's units. */
function workOf(injected: InjectedSite, rows: number): number {
  const { units, groups, fanIn } = injected.site;
  const own = units / groups;
  // Products of short vectors are those of their numbers.
  return readsResponses(injected) ? (units * rows * Math.min(own, rows)) / 2 : (units * own * fanIn) / 2;
}

/** Numbers of what a layer's penalties look at. */
export function numbersOfLayer(injected: InjectedSite): number {
  const { units, rows, fanIn } = injected.site;
  return units * (readsResponses(injected) ? rows : fanIn);
}

function sizeOf(injected: InjectedSite): string {
  const { units, rows, fanIn } = injected.site;
  return readsResponses(injected) ? `${units} units of ${rows} rows` : `${units} units of ${fanIn} numbers`;
}

/** Why a layer was left out, in words. */
export const tooLarge = (share: Share | undefined): string =>
  `not checked for its size (${share?.size}); --budget 0 checks everything`;
