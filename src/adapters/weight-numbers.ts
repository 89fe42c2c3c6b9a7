import { constantTensor } from "../analysis/probe-model.ts";
import type { Graph } from "../graph/graph.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { Layer, StoredForm } from "./layers.ts";
import { unpermuted, unpermutedShape } from "./weight-steps.ts";

/**
 * The weights with which a layer computes: [out, in, …kernel] as numbers in this order.
 * @param stored - other numbers in the place of the stored weight's
 */
export function weightNumbers(graph: Graph, layer: Layer, stored?: Float64Array): Float64Array {
  const tensor = constantTensor(graph.valueNamed(layer.weight)) as Tensor;
  const { steps, dims, unitsFirst, factor } = layer.stored as StoredForm;
  const shapes = [dims];
  for (const step of [...steps].reverse()) {
    const [shape = []] = shapes;
    shapes.unshift("dims" in step ? step.dims : unpermutedShape(shape, step.permutation));
  }
  let data: Float64Array = Float64Array.from(stored ?? tensor.numbers());
  for (const [i, step] of steps.entries()) {
    if ("dims" in step) continue;
    const back = step.permutation.map((_, axis) => step.permutation.indexOf(axis));
    data = unpermuted(data, shapes[i] ?? [], back, shapes[i + 1] ?? []);
  }
  if (!unitsFirst) data = unpermuted(data, dims, [1, 0], [...dims].reverse());
  return factor === 1 ? data : data.map((number) => factor * number);
}
