import type { Probe } from "../analysis/probe.ts";
import { shuffledIndices } from "../data/batches.ts";
import type { UnitMatrix } from "./unit-vectors.ts";

/** Most units of a layer that form pairs, unless the caller asks for all: 8 million pairs. */
export const mostUnits = 4096;

/** With fewer units of a layer than this, a sample says little about its pairs. */
const fewestUnits = 256;

/** Most multiplications for the pairs of all layers of a report, about 12 s: by ONNX Runtime, and in plain JavaScript. */
const mostOfReport = { float64: 1.5e11, plain: 1.5e10 };

/** Cost of a pair's angle and statistics (70 ns) in multiplications of ONNX Runtime (0.08 ns). */
const perPair = 800;

/** Limits of a measurement that is repeated during a run, so that it takes seconds for a network of any size. */
export interface RunLimits {
  /** The part of the work for pairs that a report may take. */
  readonly share?: number;
  /** Most multiplications of the layers' forward pass over all samples; with more, fewer samples take part. */
  readonly forward?: number;
  /** Receives what takes part where not everything does. */
  readonly onLimit?: (what: string) => void;
}

/** About 1.5 s each for the pairs of weights, those of responses, and the forward pass. */
export const runLimits = { share: 1 / 8, forward: 5e10 };

/** What the pairs of a layer cost. */
interface PairWork {
  readonly units: number;
  readonly groups: number;
  /** Numbers of each unit. */
  readonly length: number;
}

/**
 * Most units of a layer that form pairs, so that a report of many large layers takes seconds: {@link mostUnits}, halved until
 * all layers together are affordable.
 * @param limits - `full`: all units, however long it takes
 */
export function affordableUnits(
  layers: readonly PairWork[],
  probe: Probe,
  { full = false, share = 1, onLimit }: RunLimits & { readonly full?: boolean } = {},
): number {
  if (full) return Number.POSITIVE_INFINITY;
  const budget = share * (probe.float64 ? mostOfReport.float64 : mostOfReport.plain);
  let most = mostUnits;
  const work = ({ units, groups, length }: PairWork) =>
    (Math.min(units, most) ** 2 / (2 * groups)) * (length + perPair);
  while (most > fewestUnits && layers.reduce((sum, layer) => sum + work(layer), 0) > budget) most /= 2;
  if (layers.some(({ units }) => units > most)) onLimit?.(`at most ${most} units of a layer`);
  return most;
}

/**
 * The units of each group that take part when a layer has too many: the same number from each group, drawn with a fixed seed, at
 * the same places in every group.
 * @param most - units of the layer that take part at most
 * @returns ascending places within a group; undefined if all units take part
 */
export function unitSample(units: number, groups: number, most: number): Uint32Array | undefined {
  if (units <= most) return undefined;
  const size = units / groups;
  const taken = Math.max(Math.floor(most / groups), 2);
  return taken < size ? shuffledIndices(0, 0, size).slice(0, taken).sort() : undefined;
}

/** The index in the layer of each unit of a sample, group by group. */
export function sampledIndices(places: Uint32Array, units: number, groups: number): Uint32Array {
  const size = units / groups;
  return Uint32Array.from(
    { length: groups * places.length },
    (_, i) => Math.floor(i / places.length) * size + (places[i % places.length] as number),
  );
}

/** The matrix of the chosen units. */
export function sampledMatrix({ fanIn, groups, data }: UnitMatrix, indices: Uint32Array): UnitMatrix {
  const rows = data instanceof Float32Array ? Float32Array : Float64Array;
  const copy = new rows(indices.length * fanIn);
  indices.forEach((unit, i) => {
    copy.set(data.subarray(unit * fanIn, (unit + 1) * fanIn), i * fanIn);
  });
  return { units: indices.length, fanIn, groups, data: copy };
}
