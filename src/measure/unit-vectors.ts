import type { Site } from "../analysis/site-types.ts";
import { dimAt } from "../graph/shapes.ts";
import { elementCount, type Tensor } from "../onnx/tensor.ts";
import { unitsFirst } from "../penalties/plain-layer.ts";

/** Units as rows of one matrix: unit i is `data[i·fanIn … (i+1)·fanIn − 1]`. */
export interface UnitMatrix {
  /** k: number of units; units of one group are adjacent. */
  readonly units: number;
  /** d: numbers in one unit's vector. */
  readonly fanIn: number;
  readonly groups: number;
  readonly data: Float32Array | Float64Array;
}

/** Where the numbers of one unit are in the data: `outer` runs of `inner` numbers each, `stride` apart, starting at `start(unit)`. */
interface Layout {
  readonly outer: number;
  readonly inner: number;
  readonly stride: number;
  readonly start: (unit: number) => number;
}

/**
 * The weight vectors of a site's units, one row each, from the weight as its node reads it:
 *
 * - Gemm, MatMul with the weight on the right: columns of op(B) [d, k]; on the left: rows of op(A) [k, d]
 * - Conv: unit m is W[m, …] of [k, channels/groups, …kernel]
 * - ConvTranspose: unit m is W[its group's channels, m, …] of [channels, k/groups, …kernel]
 *
 * @param operand - the weight (any float type)
 */
export function unitVectors(site: Site, operand: Tensor): UnitMatrix {
  const { units, fanIn, groups } = site;
  const data = floatsOf(operand);
  const layout = layoutOf(site, operand.dims);
  if (!layout) return { units, fanIn, groups, data };
  const { outer, inner, stride, start } = layout;
  const rows = new (data instanceof Float32Array ? Float32Array : Float64Array)(units * fanIn);
  // Some units at a time: what a processor has read for one of them holds numbers of its neighbours.
  for (let first = 0; first < units; first += together) {
    const last = Math.min(first + together, units);
    for (let run = 0; run < outer; run++) {
      for (let unit = first; unit < last; unit++) {
        const from = start(unit) + run * stride;
        const to = unit * fanIn + run * inner;
        for (let i = 0; i < inner; i++) rows[to + i] = data[from + i] as number;
      }
    }
  }
  return { units, fanIn, groups, data: rows };
}

/** Units that are copied at the same time. */
const together = 16;

/** The layout of units in an operand; undefined if each unit already is a row. */
function layoutOf(site: Site, dims: readonly number[]): Layout | undefined {
  const { op, units, fanIn, groups } = site;
  if (op === "ConvTranspose") {
    const perGroup = units / groups;
    const kernel = elementCount(dims.slice(2));
    const channels = dimAt(dims, 0) / groups;
    return {
      ...{ outer: channels, inner: kernel, stride: perGroup * kernel },
      start: (unit) => (Math.floor(unit / perGroup) * channels * perGroup + (unit % perGroup)) * kernel,
    };
  }
  if (unitsFirst(site)) return undefined;
  return { outer: fanIn, inner: 1, stride: units, start: (unit) => unit };
}

function floatsOf(tensor: Tensor): Float32Array | Float64Array {
  const { data } = tensor;
  if (data instanceof Float64Array || data instanceof Float32Array) return data;
  return Float64Array.from(tensor.numbers());
}
