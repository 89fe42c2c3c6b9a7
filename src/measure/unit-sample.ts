import { shuffledIndices } from "../data/batches.ts";
import type { UnitMatrix } from "./unit-vectors.ts";

/** Most units of a layer that form pairs, unless the caller asks for all: 8 million pairs. */
const mostUnits = 4096;

/**
 * The units of each group that take part when a layer has more than {@link mostUnits}: the same number from each group, drawn
 * with a fixed seed, at the same places in every group.
 * @returns ascending places within a group; undefined if all units take part
 */
export function unitSample(units: number, groups: number, full = false): Uint32Array | undefined {
  if (full || units <= mostUnits) return undefined;
  const size = units / groups;
  const taken = Math.max(Math.floor(mostUnits / groups), 2);
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
