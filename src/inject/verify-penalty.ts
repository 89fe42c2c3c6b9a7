import type { Probe } from "../analysis/probe.ts";
import { constantOf } from "../analysis/probe-model.ts";
import type { Site } from "../analysis/site-types.ts";
import { SorthError } from "../errors.ts";
import type { Model } from "../onnx/model.ts";
import { elementCount, type Tensor } from "../onnx/tensor.ts";
import type { Penalty, PenaltyReference } from "../penalties/penalty.ts";
import type { MarkedSite } from "./mark.ts";
import { Random, tensorOf } from "./random-tensors.ts";
import { tap } from "./tap.ts";
import { note, type VerifyCheck, within } from "./verify-report.ts";

/** A site of an injected model, the value that holds its scalar, and what makes it up. */
export interface InjectedSite {
  readonly site: Site;
  readonly marked: MarkedSite;
  /** Penalties with their factors in the scalar. */
  readonly penalties: readonly { readonly penalty: Penalty; readonly factor: number }[];
}

/** An injected model, ready to run on bytes, and what it is run on. */
export interface VerifyRun {
  readonly model: Model;
  readonly feeds: ReadonlyMap<string, Tensor>;
  readonly probe: Probe;
  readonly seed: number;
}

/**
 * Relative errors of a float32 scalar and of its change, against float64; and the least change, relative to the scalar,
 * that stands out a thousandfold from float32 rounding.
 */
const limits = { value: 1e-5, slope: 2e-3, visible: 1e-3 } as const;

/**
 * The same for a site of half floats: ONNX Runtime's CPU computes them in float32 and hands the block the number before
 * it is rounded, while the reference can only see the rounded one.
 */
const halfLimits = { value: 1e-3, slope: 5e-2 } as const;

const limitsOf = ({ response }: Site): { value: number; slope: number } =>
  response.type === "float16" ? halfLimits : limits;

/** Sizes of the step along a weight, relative to the weight's root mean square; the next is tried if R does not move. */
const steps = [0.02, 0.1, 0.5] as const;
/** Into how many stretches a step is cut at most, for responses so large that tanh turns within it. */
const mostPanels = 64;

/** Three-point Gauss–Legendre rule on [0, 1]: exact for polynomials of degree 5. */
const nodes = [0.5 - Math.sqrt(0.15), 0.5, 0.5 + Math.sqrt(0.15)].map((at, i) => ({
  at,
  weight: [5 / 18, 8 / 18, 5 / 18][i] ?? 0,
}));

/** The responses of a site as `[row][unit]`, whichever axis counts units. */
export function responseRows(site: Site, response: Tensor): number[][] {
  const { dims } = response;
  const numbers = response.numbers();
  const inner = elementCount(dims.slice(site.unitAxis + 1));
  const outer = elementCount(dims.slice(0, site.unitAxis));
  return Array.from({ length: outer * inner }, (_, row) => {
    const [before, after] = [Math.floor(row / inner), row % inner];
    return Array.from(
      { length: site.units },
      (_, unit) => numbers[(before * site.units + unit) * inner + after] ?? Number.NaN,
    );
  });
}

/** The site's scalar and its gradient in float64, from the plain reference of each penalty. */
export function reference(
  { site, penalties }: InjectedSite,
  rows: readonly (readonly number[])[],
): PenaltyReference {
  const parts = penalties.map(({ penalty: { definition, options }, factor }) => ({
    ...definition.reference(rows, options, site.groups),
    factor,
  }));
  return {
    value: parts.reduce((sum, { value, factor }) => sum + factor * value, 0),
    gradient: rows.map((row, r) =>
      row.map((_, unit) =>
        parts.reduce((sum, part) => sum + part.factor * (part.gradient[r]?.[unit] ?? 0), 0),
      ),
    ),
  };
}

/**
 * The scalars of all sites, and R, against the float64 reference computed from the responses of the same run.
 * @param output - the output that holds R
 */
export async function checkValues(
  run: VerifyRun,
  sites: readonly InjectedSite[],
  output: string,
): Promise<VerifyCheck[]> {
  const names = sites.flatMap(({ site, marked }) => [site.response.name, marked.value]);
  const results = await run.probe.run(tap(run.model, [...names, output]), run.feeds, { optimize: false });
  let total = 0;
  const checks = sites.map((injected): VerifyCheck => {
    const { site, marked } = injected;
    const expected = reference(injected, responseRows(site, resultOf(results, site.response.name))).value;
    total += expected;
    return compared(
      `penalty of ${site.name}`,
      scalarOf(results, marked.value),
      expected,
      limitsOf(site).value,
    );
  });
  const limit = Math.max(...sites.map(({ site }) => limitsOf(site).value));
  return [...checks, compared("penalty", scalarOf(results, output), total, limit)];
}

function compared(name: string, actual: number, expected: number, limit: number): VerifyCheck {
  const error = Math.abs(actual - expected) / Math.max(Math.abs(expected), 1e-2);
  return within(name, error, limit, `${shown(actual)}, float64 reference ${shown(expected)}`);
}

/**
 * Moves a site's weight from W − hV to W + hV along a random direction V and compares the change of the site's scalar
 * with what the closed-form gradient says: R(Y₊) − R(Y₋) = ∫₀¹ ⟨G(Y₋ + t(Y₊ − Y₋)), Y₊ − Y₋⟩ dt, the responses Y± taken
 * from the same two runs, the integral in float64. Exact for steps of any size, so that the step can be large enough to
 * stand out from float32 rounding.
 */
export async function checkSlope(run: VerifyRun, injected: InjectedSite): Promise<VerifyCheck> {
  const { site, marked } = injected;
  const name = `gradient of ${site.name}`;
  const weight = site.weight.initializer ?? (site.weight.producer && constantOf(site.weight.producer));
  const start = weight ?? run.feeds.get(site.weight.name);
  if (site.quantized || !start) return note(name, "not checked: the weight is quantized, or not known");
  if (!["float", "double", "float16"].includes(start.type)) {
    return note(name, `not checked: ONNX Runtime's binding cannot take a ${start.type} weight`);
  }
  const bytes = tap(run.model, [site.response.name, marked.value], site.weight);
  const numbers = start.numbers();
  const random = new Random(run.seed);
  const scale = Math.sqrt(numbers.reduce((sum, w) => sum + w * w, 0) / numbers.length) || 1;
  const direction = numbers.map(() => scale * random.normal());
  const at = async (shift: number) => {
    const moved = numbers.map((w, i) => w + shift * (direction[i] ?? 0));
    const feeds = new Map(run.feeds).set(
      site.weight.name,
      tensorOf(site.weight.name, start.type, start.dims, moved),
    );
    const results = await run.probe.run(bytes, feeds, { optimize: false });
    return {
      value: scalarOf(results, marked.value),
      rows: responseRows(site, resultOf(results, site.response.name)),
    };
  };
  for (const step of steps) {
    const [low, high] = [await at(-step), await at(step)];
    const actual = high.value - low.value;
    const least = limits.visible * Math.max(Math.abs(low.value), Math.abs(high.value));
    if (Math.abs(actual) < least && step !== steps.at(-1)) continue;
    const expected = integral(injected, low.rows, high.rows);
    if (expected === undefined)
      return note(name, "not checked: the responses are too steep to integrate along");
    if (Math.max(Math.abs(actual), Math.abs(expected)) < least) break;
    const error = Math.abs(actual - expected) / Math.abs(expected);
    const detail = `changes by ${shown(actual)} along a random direction of the weight, closed form ${shown(expected)}`;
    return within(name, error, limitsOf(site).slope, detail);
  }
  return note(name, "not checked: the penalty hardly moves when the weight does (dead or saturated units)");
}

/** ∫₀¹ ⟨G(Y₋ + t(Y₊ − Y₋)), Y₊ − Y₋⟩ dt, in ever more panels until it stands still; undefined if it never does. */
function integral(
  injected: InjectedSite,
  low: readonly (readonly number[])[],
  high: readonly (readonly number[])[],
): number | undefined {
  const difference = high.map((row, r) => row.map((y, unit) => y - (low[r]?.[unit] ?? 0)));
  const slopeAt = (t: number): number => {
    const rows = low.map((row, r) => row.map((y, unit) => y + t * (difference[r]?.[unit] ?? 0)));
    const { gradient } = reference(injected, rows);
    return gradient.reduce((sum, slopes, r) => sum + dot(slopes, difference[r] ?? []), 0);
  };
  let before = Number.NaN;
  for (let panels = 1; panels <= mostPanels; panels *= 2) {
    let sum = 0;
    for (let i = 0; i < panels; i++) {
      for (const { at, weight } of nodes) sum += (weight / panels) * slopeAt((i + at) / panels);
    }
    if (Math.abs(sum - before) <= (limits.slope / 10) * Math.abs(sum)) return sum;
    before = sum;
  }
  return undefined;
}

const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);

/** An output of a run. @throws SorthError when the run did not give it. */
export function resultOf(results: ReadonlyMap<string, Tensor>, name: string): Tensor {
  const result = results.get(name);
  if (!result) throw new SorthError(`ONNX Runtime returned no "${name}"`);
  return result;
}

/** The one number of an output. */
export const scalarOf = (results: ReadonlyMap<string, Tensor>, name: string): number =>
  resultOf(results, name).numbers()[0] ?? Number.NaN;

/** A number in a report. */
export const shown = (value: number): string => value.toPrecision(6);
