import type { Site } from "../analysis/site-types.ts";
import { UsageError } from "../errors.ts";
import { type InjectedSite, readsResponses } from "./sites.ts";

/** Multiplications that the float64 references of a report take at most, unless the caller says otherwise: some 10 s. */
const usual = 12e9;

/** Numbers of a layer at most: the reference's copies take some forty bytes for each. */
const mostNumbers = 2 ** 25;

/** Rows on which a gradient is looked at, at most, but a whole sample. */
const mostRows = 2 ** 14;

/** Multiplications of the model's layers and of the block above which it is run without graph optimization alone. */
const mostForward = 10e9;

/**
 * Evaluations of the reference that a value needs, and a gradient: at the data and with rounded numbers, at two points beside
 * it, two differences, and the closed form, which takes as long as three.
 */
const evaluations = { value: 1, gradient: 9 } as const;

/** What tanh, norms and copies take in an evaluation for every number, in multiplications of products. */
const perNumber = 200;

/** What the block in ONNX Runtime takes for every pair of units, at both points together. */
const perPair = 60;

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
      const work = evaluations.gradient * workOf(injected, rows) + blockWork(injected.site);
      return values.has(injected) && takes(work);
    }),
  );
  return new Map(
    sites.map((injected) => [
      injected,
      { value: values.has(injected), gradient: gradients.has(injected), size: sizeOf(injected) },
    ]),
  );
}

/** Whether running the model is quick enough to do it once more at ONNX Runtime's default level. */
export function runsQuickly(sites: readonly Site[], budget: number | undefined): boolean {
  const work = sites.reduce((sum, site) => sum + site.units * site.rows * site.fanIn + blockWork(site), 0);
  return budget === 0 || work <= mostForward;
}

/** Samples of a layer's response on which its gradient is looked at. */
export function samplesForGradient(injected: InjectedSite, samples: number): number {
  const { rows, rowsFixed } = injected.site;
  if (rowsFixed || rows <= mostRows) return samples;
  return Math.max(1, Math.floor((samples * mostRows) / rows));
}

const rowsOfSamples = ({ site: { rows } }: InjectedSite, some: number, all: number): number =>
  (rows * some) / all;

/** Multiplications that take as long as one evaluation: the products of all pairs of a layer's units, and all numbers. */
function workOf(injected: InjectedSite, rows: number): number {
  const { units, groups, fanIn } = injected.site;
  const own = units / groups;
  const length = readsResponses(injected) ? rows : fanIn;
  // Products of short vectors are those of their numbers.
  const products = readsResponses(injected) ? Math.min(own, rows) : own;
  return units * length * (products / 2 + perNumber);
}

const blockWork = ({ units, groups }: Site): number => (perPair * units ** 2) / groups;

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
