import { constantTensor } from "../analysis/probe-model.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Use } from "../graph/node.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { dequantized, dequantizedBlocks } from "./dequantized.ts";
import { formOf, type Layer, type WeightForm } from "./layer.ts";
import { unpermuted, unpermutedShape } from "./weight-steps.ts";

/**
 * The weights with which a layer computes: [out, in, …kernel] as numbers in this order. Those of quantized layers are
 * dequantized.
 * @param stored - other numbers in the place of the stored weight's
 */
export function weightNumbers(graph: Graph, layer: Layer, stored?: Float64Array): Float64Array {
  if (layer.packed) return dequantizedBlocks(packedNode(graph, layer));
  const { steps, dims, unitsFirst, factor } = formOf(layer) as WeightForm;
  const shapes = [dims];
  for (const step of [...steps].reverse()) {
    const [shape = []] = shapes;
    shapes.unshift("dims" in step ? step.dims : unpermutedShape(shape, step.permutation));
  }
  let data: Float64Array = layer.dequantized
    ? dequantized(graph.valueNamed(layer.dequantized.source).producer as Node)
    : Float64Array.from(stored ?? (constantTensor(graph.valueNamed(layer.weight)) as Tensor).numbers());
  for (const [i, step] of steps.entries()) {
    if ("dims" in step) continue;
    const back = step.permutation.map((_, axis) => step.permutation.indexOf(axis));
    data = unpermuted(data, shapes[i] ?? [], back, shapes[i + 1] ?? []);
  }
  if (!unitsFirst) data = unpermuted(data, dims, [1, 0], [...dims].reverse());
  return factor === 1 ? data : data.map((number) => factor * number);
}

/** The MatMulNBits of a layer whose weight is packed. */
export const packedNode = (graph: Graph, { weight }: Layer): Node =>
  ([...graph.valueNamed(weight).uses].find(({ node }) => node.op === "com.microsoft.MatMulNBits") as Use)
    .node;
