import { messageOf } from "../errors.ts";
import { tap } from "../inject/tap.ts";
import { numbersOfLayer, type Share, tooLarge } from "./budget.ts";
import { allowedFor, toleranceOf } from "./limits.ts";
import { reference } from "./reference.ts";
import { note, type VerifyCheck, within } from "./report.ts";
import { type Results, scalarOf, shown, type VerifyRun } from "./run.ts";
import {
  type InjectedSite,
  type LayerTensors,
  layerNames,
  layerNumbers,
  layerTensors,
  plainLayer,
} from "./sites.ts";

/** A layer whose value was compared. */
export interface ComparedLayer {
  readonly injected: InjectedSite;
  readonly tensors: LayerTensors;
}

/** An additional check of a layer, made while its numbers are in memory. */
type FurtherCheck = (layer: ComparedLayer) => Promise<VerifyCheck>;

/** Most numbers that one run returns, unless a single layer has more. */
const numbersTogether = 2 ** 24;

/** The scalar of one site and its check. */
interface SiteValue {
  readonly check: VerifyCheck;
  /** The site's part of the sum over sites: the reference's value, or the graph's if it was not compared. */
  readonly value: number;
  readonly allowed: number;
  readonly layer?: ComparedLayer;
}

/**
 * Compares the scalars of all sites, and R, with the float64 reference computed from the responses of the same run. A site
 * that cannot be compared is noted with the reason.
 * @param output - the output that holds R
 */
export async function checkValues(
  run: VerifyRun,
  shares: ReadonlyMap<InjectedSite, Share>,
  output: string,
  further?: FurtherCheck,
): Promise<VerifyCheck[]> {
  const values = new Map<InjectedSite, SiteValue>();
  const others = new Map<InjectedSite, VerifyCheck>();
  let penalty = Number.NaN;
  for (const together of inRuns([...shares.keys()])) {
    const names = together.flatMap((injected) => (shares.get(injected)?.value ? layerNames(injected) : []));
    const results = await numbersOf(run, together, names, output);
    penalty = scalarOf(results, output);
    for (const injected of together) {
      const value = scalarCheck(injected, shares.get(injected), results, run);
      values.set(injected, value);
      if (value.layer && further) others.set(injected, await further(value.layer));
    }
  }
  return [
    ...[...values.values()].map(({ check }) => check),
    totalCheck(penalty, [...values.values()]),
    ...others.values(),
  ];
}

/** The scalars of sites, the sum, and the values that penalties read: those inside functions from the original. */
async function numbersOf(
  { model, written, feeds, probe }: VerifyRun,
  sites: readonly InjectedSite[],
  names: readonly string[],
  output: string,
): Promise<Results> {
  const inner = new Set(sites.flatMap(({ marked }) => Object.keys(marked.inner ?? {})));
  const outer = [...names.filter((name) => !inner.has(name)), ...sites.map(({ marked }) => marked.value)];
  const results = await probe.run(tap(model, [...outer, output]), feeds, { optimize: false });
  const hidden = names.filter((name) => inner.has(name));
  if (hidden.length === 0 || !written) return results;
  const own = new Set(written.proto.graph?.input?.map(({ name }) => name));
  const known = new Map([...feeds].filter(([name]) => own.has(name)));
  return new Map([...results, ...(await probe.run(tap(written, hidden), known, { optimize: false }))]);
}

/** Groups sites so that one run returns the numbers of each group. */
function inRuns(sites: readonly InjectedSite[]): InjectedSite[][] {
  const runs: InjectedSite[][] = [];
  let numbers = Number.POSITIVE_INFINITY;
  for (const injected of sites) {
    numbers += numbersOfLayer(injected);
    if (numbers > numbersTogether) {
      runs.push([]);
      numbers = numbersOfLayer(injected);
    }
    runs.at(-1)?.push(injected);
  }
  return runs;
}

function scalarCheck(
  injected: InjectedSite,
  share: Share | undefined,
  results: Results,
  run: VerifyRun,
): SiteValue {
  const name = `penalty of ${injected.site.name}`;
  const actual = scalarOf(results, injected.marked.value);
  const unknown = (why: string): SiteValue => ({
    ...{ check: note(name, why), value: actual, allowed: 0 },
  });
  if (injected.hidden) return unknown(`not checked: ${injected.hidden}`);
  if (!share?.value) return unknown(tooLarge(share));
  try {
    const tensors = layerTensors(injected, results, run.feeds);
    const numbers = layerNumbers(injected, tensors);
    if (![...numbers.responses, ...numbers.weights].every((row) => row.every(Number.isFinite))) {
      return unknown("not checked: the layer's numbers are NaN or infinite on these inputs; give --data");
    }
    const expected = reference(injected, plainLayer(injected, tensors, numbers));
    if (typeof expected === "string") return unknown(`not checked: ${expected}`);
    const { value } = expected;
    if (Math.abs(value) > largestFloat) return unknown(`not checked: ${shown(value)} is beyond float32`);
    const tolerance = toleranceOf(injected, { tensors, numbers, value, seed: run.seed });
    const most = allowedFor(actual, value, tolerance);
    const layer = { injected, tensors };
    const dead = value === 0 && actual === 0;
    return {
      check: dead
        ? note(name, "0, as the float64 reference; not checked further (dead units)")
        : compared(name, actual, value, most),
      ...{ value, allowed: most, layer },
    };
  } catch (error) {
    return unknown(`not checked: ${messageOf(error)}`);
  }
}

const largestFloat = 3.4e38;

/** Checks the sum over sites. */
function totalCheck(actual: number, values: readonly SiteValue[]): VerifyCheck {
  const sum = (of: (value: SiteValue) => number) => values.reduce((total, value) => total + of(value), 0);
  const expected = sum(({ value }) => value);
  if (values.some(({ layer, value }) => !layer && !Number.isFinite(value))) {
    return note("penalty", `${shown(actual)}: not checked, since the penalty of a layer is not`);
  }
  const most = sum(({ allowed }) => allowed) + 1e-6 * sum(({ value }) => Math.abs(value)) + 1e-30;
  return compared("penalty", actual, expected, most);
}

/** Compares a float32 scalar with float64. */
function compared(name: string, actual: number, expected: number, most: number): VerifyCheck {
  const scale = Math.max(Math.abs(expected), 1e-30);
  return within(
    name,
    Math.abs(actual - expected) / scale,
    most / scale,
    `${shown(actual)}, float64 reference ${shown(expected)}`,
  );
}
