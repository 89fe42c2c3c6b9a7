import { SorthError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { WeightNumbers } from "./kind.ts";
import type { Layer, WeightForm } from "./layer.ts";
import type { Change } from "./merge-layers.ts";
import { weightNumbers } from "./weight-numbers.ts";
import { toStored } from "./weight-steps.ts";

/** Stored numbers that an adapter changes for one layer: its weight, or its bias. */
export interface Target {
  readonly value: Value;
  /** The layer's node. */
  readonly layer: string;
  /** The layer's name, for messages. */
  readonly name: string;
  /** The node that reads the numbers: the layer's own, or the first of the operators in between. */
  readonly reader: Node;
  readonly addTo: (sum: Float64Array) => void;
  /** What is added to the units one after the other, if it does not depend on the weight. */
  readonly rows?: () => Iterable<Float64Array>;
}

/** The stored numbers of a layer that an adapter changes. */
export function targetsOf(graph: Graph, change: Change): Target[] {
  const { layer, kind, tensors, weight } = change;
  const { node, reader } = operandOf(graph, layer);
  const targets: Target[] = [
    {
      ...{ value: graph.valueNamed(layer.weight), layer: node.label, name: layer.name, reader },
      addTo: (sum) =>
        addTo(sum, change, () => weightNumbers(graph, layer, kind.compounds === true ? sum : undefined)),
      ...(kind.rows && { rows: () => rowsOf(change) }),
    },
  ];
  if (!kind.changeOfBias || !layer.bias || !("name" in layer.bias)) return targets;
  const { name } = layer.bias;
  const ofBias: Target = {
    ...{ value: graph.valueNamed(name), layer: node.label, name: layer.name },
    reader: biasReader(graph, layer, name),
    addTo: (sum) => {
      const change = kind.changeOfBias?.(tensors, Float64Array.from(sum), weight);
      change?.forEach((number, i) => {
        sum[i] = (sum[i] ?? 0) + number;
      });
    },
  };
  return [...targets, ofBias];
}

/** A layer's node, and the node that reads its stored weight: the layer's own, or the first of the operators in between. */
function operandOf(graph: Graph, layer: Layer): { node: Node; reader: Node } {
  const node = graph.value(layer.product)?.producer;
  if (!node)
    throw new SorthError(`the model has no layer "${layer.name}": no node computes "${layer.product}"`);
  let [reader, value] = [
    node,
    node.inputs[layer.form === "left" || layer.form === "embedding" ? 0 : 1] ?? undefined,
  ];
  while (value && value.name !== layer.weight && value.producer) {
    reader = value.producer;
    value = reader.inputs[0] ?? undefined;
  }
  return { node, reader };
}

/** The node that reads a layer's stored bias: the one that adds it, or the first of the operators in between. */
function biasReader(graph: Graph, layer: Layer, bias: string): Node {
  const last = graph.valueNamed(layer.response).producer;
  for (const input of last?.inputs ?? []) {
    let [reader, value] = [last, input];
    while (value && value.name !== bias && value.producer && value.name !== layer.product) {
      reader = value.producer;
      value = reader.inputs[0] ?? null;
    }
    if (value?.name === bias && reader) return reader;
  }
  throw new SorthError(`the model has no layer "${layer.name}" with the bias "${bias}"`);
}

/** What an adapter adds to the units of a layer's stored weight, each in the same array. */
function* rowsOf({ layer, kind, tensors, settings, weight }: Change): Generator<Float64Array> {
  const { factor } = layer.stored as WeightForm;
  const rowOf = kind.rows?.(layer, tensors, settings, weight / factor);
  for (let unit = 0; rowOf && unit < layer.units; unit++) yield rowOf(unit);
}

/** Adds an adapter to a weight, in the weight's layout. */
function addTo(
  sum: Float64Array,
  { layer, kind, tensors, settings, weight }: Change,
  before: WeightNumbers,
): void {
  const { unitsFirst, factor, dims, steps } = layer.stored as WeightForm;
  const { units } = layer;
  if (kind.rows && steps.length === 0) {
    const fanIn = elementCount(layer.unit);
    const rowOf = kind.rows(layer, tensors, settings, weight);
    const [unitStride, stride] = unitsFirst ? [fanIn, 1] : [1, units];
    for (let unit = 0; unit < units; unit++) {
      const row = rowOf(unit);
      for (let i = 0, at = unit * unitStride; i < fanIn; i++, at += stride) {
        sum[at] = (sum[at] as number) + (row[i] as number) / factor;
      }
    }
    return;
  }
  const change = kind.change(layer, tensors, settings, before, weight);
  const operand = unitsFirst ? change : exchanged(change, units, elementCount(layer.unit));
  const stored = toStored(operand, dims, steps);
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + (stored[i] ?? 0) / factor;
}

function exchanged(matrix: Float64Array, rows: number, columns: number): Float64Array {
  const result = new Float64Array(matrix.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) result[j * rows + i] = matrix[i * columns + j] ?? 0;
  }
  return result;
}
