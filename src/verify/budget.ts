import type { Site } from "../analysis/site-types.ts";
import { UsageError } from "../errors.ts";
import { comparesRows } from "../penalties/som.ts";
import { type InjectedSite, readsResponses } from "./sites.ts";

/** Default limit for the float64 references of a report, in multiplications: about 10 s. */
const usual = 12e9;

/** Layers with more numbers than this are left out: the reference's copies take about forty bytes per number. */
const mostNumbers = 2 ** 25;

/** Most rows on which a gradient is checked, but at least one whole sample. */
const mostRows = 2 ** 14;

/** A model whose layers and block take more multiplications than this is run only without graph optimization. */
const mostForward = 10e9;

/**
 * Evaluations of the reference that a value and a gradient need: at the data and with rounded numbers, at two points near
 * the data, two differences, and the closed form, which takes as long as three.
 */
const evaluations = { value: 1, gradient: 9 } as const;

/** Cost of tanh, norms and copies per number in one evaluation, in multiplications. */
const perNumber = 200;

/** Cost of the block in ONNX Runtime per pair of units (or per number, where it compares rows), for both points together, in multiplications. */
const perPair = 60;

/** The checks that a layer gets. */
export interface Share {
  readonly value: boolean;
  readonly gradient: boolean;
  /** The layer's size in words. */
  readonly size: string;
}

/**
 * Divides a budget among layers: first the values of all layers, smaller layers first, then their gradients.
 * @param budget - in billions of multiplications; 0 for no limit
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
      const work = evaluations.gradient * workOf(injected, rows) + blockWork(injected);
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

/** Whether the model runs fast enough to run it once more at ONNX Runtime's default optimization level. */
export function runsQuickly(
  sites: readonly Site[],
  injected: readonly InjectedSite[],
  budget: number | undefined,
): boolean {
  const forward = sites.reduce((sum, { units, rows, fanIn }) => sum + units * rows * fanIn, 0);
  const blocks = injected.reduce((sum, one) => sum + blockWork(one), 0);
  return budget === 0 || forward + blocks <= mostForward;
}

/** How many samples of a layer's response are used to check its gradient. */
export function samplesForGradient(injected: InjectedSite, samples: number): number {
  const { rows, rowsFixed } = injected.site;
  if (rowsFixed || rows <= mostRows) return samples;
  return Math.max(1, Math.floor((samples * mostRows) / rows));
}

const rowsOfSamples = ({ site: { rows } }: InjectedSite, some: number, all: number): number =>
  (rows * some) / all;

/** Cost of one evaluation in multiplications: the products of all pairs of a layer's units, and the work per number. */
function workOf(injected: InjectedSite, rows: number): number {
  const { units, groups, fanIn } = injected.site;
  const own = units / groups;
  const length = readsResponses(injected) ? rows : fanIn;
  // With fewer rows than units, the reference multiplies rows instead of units.
  const products = readsResponses(injected) ? Math.min(own, rows) : own;
  return units * length * (products / 2 + perNumber);
}

/** Cost of the block: SOM may compare the rows of a layer with many units. */
function blockWork(injected: InjectedSite): number {
  const { units, groups, rows, rowsFixed, response } = injected.site;
  const isSom = injected.penalties.every(({ penalty }) => penalty.definition.name === "som");
  return isSom && readsResponses(injected) && comparesRows(injected.site, response, rowsFixed, rows)
    ? units * rows * (perPair + rows)
    : (perPair * units ** 2) / groups;
}

/** How many numbers a layer's penalties read. */
export function numbersOfLayer(injected: InjectedSite): number {
  const { units, rows, fanIn } = injected.site;
  return units * (readsResponses(injected) ? rows : fanIn);
}

function sizeOf(injected: InjectedSite): string {
  const { units, rows, fanIn } = injected.site;
  return readsResponses(injected) ? `${units} units of ${rows} rows` : `${units} units of ${fanIn} numbers`;
}

/** The reason why a layer was left out. */
export const tooLarge = (share: Share | undefined): string =>
  `not checked for its size (${share?.size}); --budget 0 checks everything`;
