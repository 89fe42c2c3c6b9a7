import type { Probe } from "../analysis/probe.ts";
import { Emit } from "../graph/emit.ts";
import { Graph } from "../graph/graph.ts";
import { graphToProto } from "../graph/proto.ts";
import { encodeModelProto } from "../onnx/codec.ts";
import { Tensor } from "../onnx/tensor.ts";
import type { GramBlock } from "./pair-statistics.ts";
import { plainProducts } from "./plain-products.ts";
import type { UnitMatrix } from "./unit-vectors.ts";

/** Most products of one run of ONNX Runtime, so that they fit a processor's cache: 8 MB. */
const mostProducts = 2 ** 20;

/**
 * Products uᵢ·uⱼ of a layer's units in float64, block by block; every pair i ≤ j of the same group is in one block. ONNX
 * Runtime's MatMul computes them: 4096 units of 1024 numbers take 0.7 s on one thread, 7 s in plain JavaScript.
 */
export async function* gramBlocks(matrix: UnitMatrix, probe: Probe): AsyncGenerator<GramBlock> {
  const { units, groups } = matrix;
  const size = units / groups;
  const side = Math.min(Math.max(Math.floor(Math.sqrt(mostProducts / groups)), 1), size);
  const whole = side === size ? await wholeGram(matrix, probe) : undefined;
  for (let top = 0; top < size; top += side) {
    const rows = Math.min(side, size - top);
    const upper = whole ? undefined : rowsOf(matrix, top, rows);
    for (let left = top; left < size; left += side) {
      const columns = Math.min(side, size - left);
      const products = whole ?? (await productsOf(upper as Tensor, rowsOf(matrix, left, columns), probe));
      for (let group = 0; group < groups; group++) {
        const block = products.subarray(group * rows * columns, (group + 1) * rows * columns);
        yield { row: group * size + top, column: group * size + left, rows, columns, products: block };
      }
    }
  }
}

/**
 * The smaller of the two Gram matrices of each group's units X [k/groups, d]: XXᵀ or XᵀX, in float64.
 * @returns [groups, side, side]
 */
export async function smallerGram(
  matrix: UnitMatrix,
  probe: Probe,
): Promise<{ side: number; data: Float64Array }> {
  const { units, groups, fanIn } = matrix;
  const size = units / groups;
  if (size <= fanIn) return { side: size, data: await wholeGram(matrix, probe) };
  return { side: fanIn, data: await productsOf(rowsOf(matrix, 0, size), undefined, probe) };
}

/** The Gram matrices of units that were asked for: a layer's singular values and its pairs are read from the same one. */
const known = new WeakMap<UnitMatrix, { readonly probe: Probe; readonly products: Promise<Float64Array> }>();

/** XXᵀ of each group's units: [groups, k/groups, k/groups]. */
function wholeGram(matrix: UnitMatrix, probe: Probe): Promise<Float64Array> {
  const found = known.get(matrix);
  if (found?.probe === probe) return found.products;
  const all = rowsOf(matrix, 0, matrix.units / matrix.groups);
  const products = productsOf(all, all, probe);
  known.set(matrix, { probe, products });
  return products;
}

/** Rows first … first + count − 1 of every group: [groups, count, d], a view if they are adjacent. */
function rowsOf({ units, groups, fanIn, data }: UnitMatrix, first: number, count: number): Tensor {
  const size = units / groups;
  const type = data instanceof Float32Array ? "float" : "double";
  const part = (group: number) => {
    const start = (group * size + first) * fanIn;
    return data.subarray(start, start + count * fanIn);
  };
  const dims = [groups, count, fanIn];
  if (groups === 1 || count === size) {
    return Tensor.of("x", type, dims, groups === 1 ? part(0) : data);
  }
  const rows = data instanceof Float32Array ? Float32Array : Float64Array;
  const copy = new rows(groups * count * fanIn);
  for (let group = 0; group < groups; group++) copy.set(part(group), group * count * fanIn);
  return Tensor.of("x", type, dims, copy);
}

/** x·yᵀ of each group: [groups, m, d] and [groups, n, d] → [groups, m, n]; without y, xᵀ·x: [groups, d, d]. */
async function productsOf(x: Tensor, y: Tensor | undefined, probe: Probe): Promise<Float64Array> {
  if (!probe.float64) return plainProducts(x, y);
  const graph = new Graph("gram", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "" });
  const feeds = new Map([["x", x]]);
  const left = g.cast(graph.addInput("x", x.type, x.dims), "double");
  if (y && y !== x) feeds.set("y", y.named("y"));
  const right = y && y !== x ? g.cast(graph.addInput("y", y.type, y.dims), "double") : left;
  const product = y ? g.matMul(left, g.transposeLast(right)) : g.matMul(g.transposeLast(left), left);
  graph.addOutput(product);
  const results = await probe.run(encodeModelProto(graphToProto(graph)), feeds);
  return results.get(product.name)?.data as Float64Array;
}
