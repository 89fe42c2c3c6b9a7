import type { Site } from "../analysis/site-types.ts";
import { traceParameter } from "../analysis/trace-parameter.ts";
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { dimAt } from "../graph/shapes.ts";
import { elementCount, type Tensor } from "../onnx/tensor.ts";

/** Units as rows of one matrix: unit i is `data[i·fanIn … (i+1)·fanIn − 1]`. */
export interface UnitMatrix {
  /** k: number of units, neighbours of one group side by side. */
  readonly units: number;
  /** d: numbers in one unit's vector. */
  readonly fanIn: number;
  readonly groups: number;
  readonly data: Float32Array | Float64Array;
}

/** The operand of a site's node that is its weight, as the node reads it, and its place among the inputs. */
export function weightOperand(graph: Graph, site: Site): { operand: Value; right: boolean } {
  const [left, right] = site.node.inputs as [Value, Value];
  return traceParameter(graph, right) ? { operand: right, right: true } : { operand: left, right: false };
}

/** Where the numbers of one unit lie: `outer` runs of `inner` numbers each, `stride` apart, from `start(unit)` on. */
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
 * @param right - whether it is the node's second input
 */
export function unitVectors(site: Site, operand: Tensor, right: boolean): UnitMatrix {
  const { units, fanIn, groups } = site;
  const data = floatsOf(operand);
  const layout = layoutOf(site, operand.dims, right);
  if (!layout) return { units, fanIn, groups, data };
  const { outer, inner, stride, start } = layout;
  const rows = new Float64Array(units * fanIn);
  let to = 0;
  for (let unit = 0; unit < units; unit++) {
    for (let run = 0; run < outer; run++) {
      const from = start(unit) + run * stride;
      for (let i = 0; i < inner; i++) rows[to++] = data[from + i] as number;
    }
  }
  return { units, fanIn, groups, data: rows };
}

/** How units lie in an operand; nothing where each is a row already. */
function layoutOf(site: Site, dims: readonly number[], right: boolean): Layout | undefined {
  const { op, node, units, fanIn, groups } = site;
  if (op === "Conv") return undefined;
  if (op === "ConvTranspose") {
    const perGroup = units / groups;
    const kernel = elementCount(dims.slice(2));
    const channels = dimAt(dims, 0) / groups;
    return {
      ...{ outer: channels, inner: kernel, stride: perGroup * kernel },
      start: (unit) => (Math.floor(unit / perGroup) * channels * perGroup + (unit % perGroup)) * kernel,
    };
  }
  const transposed = op === "Gemm" && node.int(right ? "transB" : "transA", 0) !== 0;
  if (right === transposed) return undefined;
  return { outer: fanIn, inner: 1, stride: units, start: (unit) => unit };
}

function floatsOf(tensor: Tensor): Float32Array | Float64Array {
  const { data } = tensor;
  if (data instanceof Float64Array || data instanceof Float32Array) return data;
  return Float64Array.from(tensor.numbers());
}
