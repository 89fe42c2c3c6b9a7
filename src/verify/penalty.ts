import type { Probe } from "../analysis/probe.ts";
import { constantOf } from "../analysis/probe-model.ts";
import type { Site } from "../analysis/site-types.ts";
import { SorthError } from "../errors.ts";
import { tap } from "../inject/tap.ts";
import type { Model } from "../onnx/model.ts";
import { Random, tensorOf } from "../onnx/random-tensors.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { Matrix, PenaltyReference, PlainLayer } from "../penalties/plain-layer.ts";
import { dot } from "../penalties/plain-math.ts";
import { note, type VerifyCheck, within } from "./report.ts";
import { type InjectedSite, layerNames, plainLayerOf } from "./sites.ts";

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

/** The site's scalar and its gradient in float64, from the plain reference of each penalty; or why there is none. */
export function reference({ penalties }: InjectedSite, layer: PlainLayer): PenaltyReference | string {
  const parts: { factor: number; result: PenaltyReference }[] = [];
  for (const { penalty, factor } of penalties) {
    const { definition, options } = penalty;
    if (!definition.reference) return `the penalty ${definition.name} has no reference`;
    parts.push({ factor, result: definition.reference(layer, options) });
  }
  const combined = (of: (result: PenaltyReference) => Matrix | undefined): Matrix | undefined =>
    parts.reduce<Matrix | undefined>((sum, { factor, result }) => {
      const own = of(result);
      if (!own) return sum;
      return own.map((row, i) => row.map((value, j) => (sum?.[i]?.[j] ?? 0) + factor * value));
    }, undefined);
  const responses = combined(({ gradient }) => gradient.responses);
  const weights = combined(({ gradient }) => gradient.weights);
  const bias = combined(({ gradient }) => gradient.bias && [gradient.bias])?.[0];
  const notIntegrated = parts.find(({ result }) => result.notIntegrated)?.result.notIntegrated;
  return {
    value: parts.reduce((sum, { factor, result }) => sum + factor * result.value, 0),
    gradient: { ...(responses && { responses }), ...(weights && { weights }), ...(bias && { bias }) },
    ...(notIntegrated && { notIntegrated }),
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
  const names = sites.flatMap(({ site, marked }) => [...layerNames(site), marked.value]);
  const results = await run.probe.run(tap(run.model, [...names, output]), run.feeds, { optimize: false });
  let total = 0;
  const checks = sites.map((injected): VerifyCheck => {
    const { site, marked } = injected;
    const name = `penalty of ${site.name}`;
    const expected = reference(injected, plainLayerOf(site, results, run.feeds));
    if (typeof expected === "string") {
      // Of a penalty without a reference the sum alone is checked.
      total += scalarOf(results, marked.value);
      return note(name, `not checked: ${expected}`);
    }
    total += expected.value;
    return compared(name, scalarOf(results, marked.value), expected.value, limitsOf(site).value);
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
 * with what the reference's gradient G says: R(L₊) − R(L₋) = ∫₀¹ ⟨G(L₋ + t(L₊ − L₋)), L₊ − L₋⟩ dt, the layer's responses and
 * weights L± taken from the same two runs, the integral in float64. Exact for steps of any size, so that the step can be
 * large enough to stand out from float32 rounding.
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
  const bytes = tap(run.model, [...layerNames(site), marked.value], site.weight);
  const numbers = start.numbers();
  const random = new Random("direction of verify", run.seed);
  const scale = Math.sqrt(numbers.reduce((sum, w) => sum + w * w, 0) / numbers.length) || 1;
  const direction = numbers.map(() => scale * random.normal());
  const at = async (shift: number) => {
    const moved = numbers.map((w, i) => w + shift * (direction[i] ?? 0));
    const feeds = new Map(run.feeds).set(
      site.weight.name,
      tensorOf(site.weight.name, start.type, start.dims, moved),
    );
    const results = await run.probe.run(bytes, feeds, { optimize: false });
    return { value: scalarOf(results, marked.value), layer: plainLayerOf(site, results, feeds) };
  };
  for (const step of steps) {
    const [low, high] = [await at(-step), await at(step)];
    const actual = high.value - low.value;
    const least = limits.visible * Math.max(Math.abs(low.value), Math.abs(high.value));
    if (Math.abs(actual) < least && step !== steps.at(-1)) continue;
    const expected = integral(injected, low.layer, high.layer);
    if (typeof expected === "string") return note(name, `not checked: ${expected}`);
    if (Math.max(Math.abs(actual), Math.abs(expected)) < least) break;
    const error = Math.abs(actual - expected) / Math.abs(expected);
    const detail = `changes by ${shown(actual)} along a random direction of the weight, by the reference's gradient ${shown(expected)}`;
    return within(name, error, limitsOf(site).slope, detail);
  }
  return note(name, "not checked: the penalty hardly moves when the weight does (dead or saturated units)");
}

/** ∫₀¹ ⟨G(L₋ + t(L₊ − L₋)), L₊ − L₋⟩ dt over responses and weights, in ever more panels until it stands still; or why not. */
function integral(injected: InjectedSite, low: PlainLayer, high: PlainLayer): number | string {
  const between = (a: Matrix, b: Matrix, of: (x: number, y: number) => number): Matrix =>
    a.map((row, i) => row.map((x, j) => of(x, b[i]?.[j] ?? 0)));
  const responses = between(high.responses, low.responses, (x, y) => x - y);
  const weights = between(high.weights, low.weights, (x, y) => x - y);
  const along = (slopes: Matrix | undefined, difference: Matrix): number =>
    (slopes ?? []).reduce((sum, row, i) => sum + dot(row, difference[i] ?? []), 0);
  const at = (t: number): PlainLayer => ({
    ...low,
    responses: between(low.responses, responses, (x, d) => x + t * d),
    weights: between(low.weights, weights, (x, d) => x + t * d),
  });
  const first = reference(injected, low);
  if (typeof first === "string") return first;
  if (first.notIntegrated) return first.notIntegrated;
  const slopeAt = (t: number): number => {
    const { gradient } = reference(injected, at(t)) as PenaltyReference;
    return along(gradient.responses, responses) + along(gradient.weights, weights);
  };
  let before = Number.NaN;
  for (let panels = 1; panels <= mostPanels; panels *= 2) {
    let sum = 0;
    for (let i = 0; i < panels; i++) {
      for (const { at: place, weight } of nodes) sum += (weight / panels) * slopeAt((i + place) / panels);
    }
    if (Math.abs(sum - before) <= (limits.slope / 10) * Math.abs(sum)) return sum;
    before = sum;
  }
  return "the penalty is too steep to integrate along";
}

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
