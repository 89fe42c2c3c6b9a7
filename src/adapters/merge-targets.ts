import { SorthError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { WeightNumbers } from "./kind.ts";
import type { Layer, WeightForm } from "./layer.ts";
import type { Change } from "./merge-layers.ts";
import { exchanged, weightNumbers } from "./weight-numbers.ts";
import { toStored } from "./weight-steps.ts";

/** Stored numbers that an adapter changes for one layer: its weight, or its bias. */
export interface Target {
  readonly value: Value;
  /** The layer's node. */
  readonly layer: string;
  /** The layer's name, for messages. */
  readonly name: string;
  /** The nodes from the numbers to the layer: operators that change their layout or type, and the layer's own. */
  readonly path: readonly Node[];
  readonly addTo: (sum: Float64Array) => void;
  /** The change of which this is a part. */
  readonly change: Change;
  /** What is added to the units one after the other, if it does not depend on the weight. */
  readonly rows?: () => Iterable<Float64Array>;
}

/** The stored numbers of a layer that an adapter changes. */
export function targetsOf(graph: Graph, change: Change): Target[] {
  const { layer, kind, tensors, weight } = change;
  const { node, path } = operandOf(graph, layer);
  const targets: Target[] = [
    {
      ...{ value: graph.valueNamed(layer.weight), layer: node.label, name: layer.name, path, change },
      addTo: (sum) =>
        addTo(sum, change, () => weightNumbers(graph, layer, kind.compounds === true ? sum : undefined)),
      ...(kind.rows && { rows: () => rowsOf(change) }),
    },
  ];
  if (!kind.changeOfBias || !layer.bias || !("name" in layer.bias)) return targets;
  const { name } = layer.bias;
  const ofBias: Target = {
    ...{ value: graph.valueNamed(name), layer: node.label, name: layer.name, change },
    path: pathOfBias(graph, layer, name),
    addTo: (sum) => {
      const change = kind.changeOfBias?.(tensors, Float64Array.from(sum), weight);
      change?.forEach((number, i) => {
        sum[i] = (sum[i] ?? 0) + number;
      });
    },
  };
  return [...targets, ofBias];
}

/** A layer's node, and the nodes from its stored weight to it. */
function operandOf(graph: Graph, layer: Layer): { node: Node; path: readonly Node[] } {
  const node = graph.value(layer.product)?.producer;
  if (!node)
    throw new SorthError(`the model has no layer "${layer.name}": no node computes "${layer.product}"`);
  const operand = node.inputs[layer.form === "left" || layer.form === "embedding" ? 0 : 1];
  return { node, path: [...(pathFrom(operand, layer.weight) ?? []), node] };
}

/** The nodes from a layer's stored bias to the one that adds it. */
function pathOfBias(graph: Graph, layer: Layer, bias: string): readonly Node[] {
  const last = graph.valueNamed(layer.response).producer;
  for (const input of last?.inputs ?? []) {
    const path = input?.name === layer.product ? undefined : pathFrom(input, bias);
    if (path && last) return [...path, last];
  }
  throw new SorthError(`the model has no layer "${layer.name}" with the bias "${bias}"`);
}

/** The nodes from a stored value to an operand, each by its first input; undefined if they do not lead there. */
function pathFrom(operand: Value | null | undefined, stored: string): Node[] | undefined {
  const path: Node[] = [];
  let value = operand;
  while (value && value.name !== stored) {
    if (!value.producer) return undefined;
    path.unshift(value.producer);
    value = value.producer.inputs[0];
  }
  return value ? path : undefined;
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
  if (kind.rows && steps.length === 0 && !layer.upward) {
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
  const operand = unitsFirst ? change : exchanged(change, layer, "to operand");
  const stored = toStored(operand, dims, steps);
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + (stored[i] ?? 0) / factor;
}
