import { parameterValue } from "../analysis/parameter-value.ts";
import type { Probe } from "../analysis/probe.ts";
import { constantTensor } from "../analysis/probe-model.ts";
import { dequantizedWeight } from "../autodiff/rules/block-quantized.ts";
import { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { Graph } from "../graph/graph.ts";
import type { Node, Use, Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import type { AdapterKind } from "./kind.ts";
import { formOf, type Layer, type WeightForm } from "./layer.ts";
import { unpermuted, unpermutedShape } from "./weight-steps.ts";

/**
 * The weights with which a layer computes: [out, in, …kernel] as numbers in this order. ONNX Runtime dequantizes those of quantized
 * layers.
 */
export async function layerNumbers(graph: Graph, layer: Layer, probe: Probe): Promise<Float64Array> {
  if (!layer.packed && !layer.dequantized) return weightNumbers(graph, layer);
  const [part, value] = layer.packed
    ? unpacked(packedNode(graph, layer))
    : [graph, graph.valueNamed(formOf(layer)?.operand ?? "")];
  const numbers = Float64Array.from((await parameterValue(part, value, probe))?.numbers() ?? [], Number);
  return inUnits(numbers, layer, formOf(layer) ?? { unitsFirst: layer.form !== "embedding", factor: 1 });
}

/** The Euclidean norms of the units' weights for a kind of adapter that needs them; none for others. */
export async function normsFor(
  graph: Graph,
  { layer, kind }: { readonly layer: Layer; readonly kind: AdapterKind },
  probe: Probe,
): Promise<Float64Array> {
  return kind.needsNorms ? normsOf(layer, await layerNumbers(graph, layer, probe)) : new Float64Array();
}

/** The Euclidean norm of each unit's weights. */
export function normsOf({ units, unit }: Layer, weights: Float64Array): Float64Array {
  const fanIn = elementCount(unit);
  return Float64Array.from({ length: units }, (_, i) =>
    Math.sqrt(weights.subarray(i * fanIn, (i + 1) * fanIn).reduce((sum, number) => sum + number * number, 0)),
  );
}

/**
 * The same as {@link layerNumbers} for a weight of floats.
 * @param stored - other numbers in the place of the stored weight's
 */
export function weightNumbers(graph: Graph, layer: Layer, stored?: Float64Array): Float64Array {
  const form = formOf(layer) as WeightForm;
  const shapes = [form.dims];
  for (const step of [...form.steps].reverse()) {
    const [shape = []] = shapes;
    shapes.unshift("dims" in step ? step.dims : unpermutedShape(shape, step.permutation));
  }
  let data: Float64Array = Float64Array.from(
    stored ?? (constantTensor(graph.valueNamed(layer.weight)) as Tensor).numbers(),
  );
  for (const [i, step] of form.steps.entries()) {
    if ("dims" in step) continue;
    const back = step.permutation.map((_, axis) => step.permutation.indexOf(axis));
    data = unpermuted(data, shapes[i] ?? [], back, shapes[i + 1] ?? []);
  }
  return inUnits(data, layer, form);
}

/** The numbers of an operand in the order of the units. */
function inUnits(
  operand: Float64Array,
  layer: Layer,
  { unitsFirst, factor }: Pick<WeightForm, "unitsFirst" | "factor">,
): Float64Array {
  const data = unitsFirst ? operand : exchanged(operand, layer, "to units");
  return factor === 1 ? data : data.map((number) => factor * number);
}

/**
 * [out, in, …kernel] of one array is [in, out, …kernel] of the other; of a convolution with groups group by group, whose channels
 * then are [in, out / groups, …kernel].
 */
export function exchanged(
  data: Float64Array,
  { units, unit: [inputs = 1, ...kernel], groups = 1 }: Layer,
  to: "to units" | "to operand",
): Float64Array {
  const [outside, positions] = [units / groups, elementCount(kernel)];
  const byUnit = [groups, outside, inputs, positions];
  const byInput = [groups, inputs, outside, positions];
  return unpermuted(
    data,
    ...(to === "to units"
      ? ([byInput, [0, 2, 1, 3], byUnit] as const)
      : ([byUnit, [0, 2, 1, 3], byInput] as const)),
  );
}

/** The node of a layer that dequantizes its weight itself. */
export function packedNode(graph: Graph, { weight, form }: Layer): Node {
  const op = form === "embedding" ? "com.microsoft.GatherBlockQuantized" : "com.microsoft.MatMulNBits";
  return ([...graph.valueNamed(weight).uses].find(({ node }) => node.op === op) as Use).node;
}

/** A graph that computes the dequantized weight of such a node. */
function unpacked(node: Node): readonly [Graph, Value] {
  const { domain, opType, attributes } = node;
  const part = new Graph(
    "weight",
    new Map([
      ["", 21],
      [domain, 1],
    ]),
  );
  const inputs = node.inputs.map((input) => {
    const tensor = input && constantTensor(input);
    if (!tensor) return null;
    // Scales of float16 would round the products.
    return part.addInitializer(
      isFloat(tensor.type) && tensor.type !== "double"
        ? Tensor.float(input.name, tensor.dims, Float32Array.from(tensor.numbers(), Number))
        : tensor.named(input.name),
    );
  });
  if (opType === "MatMulNBits") {
    const g = new Emit(part, { prefix: "" });
    return [part, dequantizedWeight({ node, inputs: inputs as readonly (Typed | null)[] }, g)];
  }
  const [rows = 0] = inputs[0]?.initializer?.dims ?? [];
  const all = Array.from({ length: rows }, (_, i) => i);
  inputs[1] = part.addInitializer(Tensor.int64(part.freshName("rows"), [rows], all));
  const { outputs } = part.addNode({
    opType,
    domain,
    attributes,
    inputs,
    outputs: [part.freshName("table")],
  });
  return [part, outputs[0] as Value];
}
