import { type EinsumLayer, einsumLayer } from "../../analysis/einsum-layer.ts";
import { unwritten } from "../../analysis/other-layers.ts";
import { traceParameter } from "../../analysis/trace-parameter.ts";
import { type Attribute, float, ints } from "../../graph/attribute.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { allAxes } from "../../graph/shapes.ts";
import { tableOf } from "../../lookup.ts";
import { elementCount, Tensor } from "../../onnx/tensor.ts";
import { changes, defineGraphPass } from "../pass.ts";

/**
 * Writes layers out whose operator computes more than a product: what ONNX Runtime's optimizer has fused (com.microsoft's FusedGemm,
 * FusedConv, FusedMatMul and their like), and Einsum with a weight. Afterwards the layer's own response is a value of the graph.
 *
 *     y = FusedGemm(x, w, b) {activation: Relu}  →  h = Gemm(x, w, b); y = Relu(h)
 *     y = Einsum(x, w) {equation: "abc,cde->abde"}  →  y = Reshape(MatMul(x, Reshape(w)))
 *
 * What has no such form stays.
 */
export const writeOutProducts = defineGraphPass({
  name: "write-out-products",
  options: {},
  run(graph) {
    let written = 0;
    const order = [...graph.nodes].flatMap((node) => {
      const added = Object.hasOwn(forms, node.op) ? writeOut(graph, node) : undefined;
      if (added) written++;
      return added ?? [node];
    });
    // Layers are listed in the order of the model.
    const left = new Set(graph.nodes);
    if (written > 0) graph.reorder(order.filter((node) => left.has(node)));
    return changes(
      written,
      "layer",
      "no operator computes more than a product, in a form that can be written out",
    );
  },
});

/** A layer in other operators. */
interface Written {
  /** The operator that is the layer. */
  readonly product: Node;
  /** The value that the former operator computed, or that the Add behind it did. */
  readonly result: Value;
  /** Nodes that are not needed any more, the last of which computed {@link result}. */
  readonly replaced: readonly Node[];
}

/** @returns the nodes in its place, in order; undefined if the node stays */
function writeOut(graph: Graph, node: Node): Node[] | undefined {
  const writer = new Writer(graph, node);
  const written = forms[node.op]?.(writer);
  const [last] = written?.replaced.slice(-1) ?? [];
  const former = last?.outputs[0];
  if (!written || !former) return undefined;
  const { product, result, replaced } = written;
  const { label } = node;
  const { name, type, shape, declared, metadata } = former;
  Object.assign(result, { type, shape, declared, metadata });
  graph.replaceUses(former, result, { outputs: true });
  graph.removeNodes(new Set(replaced));
  graph.rename(result, name);
  if (result.producer && result.producer !== product)
    graph.nameNode(result.producer, graph.freshName(`${label}/result`));
  graph.nameNode(product, label);
  return writer.added;
}

/** Adds the operators that take the place of one. */
class Writer {
  readonly graph: Graph;
  readonly node: Node;
  readonly added: Node[] = [];

  constructor(graph: Graph, node: Node) {
    this.graph = graph;
    this.node = node;
  }

  op(
    opType: string,
    inputs: readonly (Value | null)[],
    attributes: Readonly<Record<string, Attribute>> = {},
    domain = "",
  ): Value {
    const name = this.graph.freshName(`${this.node.label}/${opType}`);
    const node = this.graph.addNode({
      ...{ opType, domain, name, inputs, outputs: [name], attributes: new Map(Object.entries(attributes)) },
      metadata: this.node.metadata,
    });
    this.added.push(node);
    return node.outputs[0] as Value;
  }

  constant(tensor: Tensor): Value {
    return this.graph.addInitializer(tensor.named(this.graph.freshName(`${this.node.label}/${tensor.name}`)));
  }

  reshape(x: Value, shape: readonly number[]): Value {
    return this.op("Reshape", [x, this.constant(Tensor.int64("shape", [shape.length], shape))]);
  }

  /** The value with these axes in this order; itself if they are. */
  transpose(x: Value, perm: readonly number[]): Value {
    return perm.every((axis, i) => axis === i) ? x : this.op("Transpose", [x], { perm: ints(perm) });
  }

  /** The attributes of the operator without those of its activation. */
  own(): Record<string, Attribute> {
    return Object.fromEntries([...this.node.attributes].filter(([name]) => !name.startsWith("activation")));
  }
}

/** The parameters of activations, in the order in which FusedConv lists them. */
const activations: Readonly<Record<string, readonly string[]>> = tableOf({
  ...{ Relu: [], Tanh: [], Sigmoid: [], Softplus: [], Softsign: [] },
  ...{ LeakyRelu: ["alpha"], Elu: ["alpha"], ThresholdedRelu: ["alpha"], HardSigmoid: ["alpha", "beta"] },
  ...{ Selu: ["alpha", "gamma"], Clip: ["min", "max"], Softmax: ["axis"] },
});

/** The activation of a fused operator; empty for none. */
const activationOf = (node: Node): string => node.string("activation", "");

const isKnown = (node: Node): boolean => activationOf(node) === "" || !!activations[activationOf(node)];

/** Adds the activation of a fused operator. */
function activated(writer: Writer, x: Value): Value {
  const { graph, node } = writer;
  const name = activationOf(node);
  const parameters = activations[name];
  if (!parameters) return x;
  const listed = node.attributes.get("activation_params");
  const given = parameters.flatMap((parameter, i) => {
    const value = listed?.kind === "floats" ? listed.value[i] : undefined;
    const attribute = value === undefined ? node.attributes.get(`activation_${parameter}`) : float(value);
    return attribute ? [[parameter, attribute] as const] : [];
  });
  if (name !== "Clip" || graph.opset < 11) return writer.op(name, [x], Object.fromEntries(given));
  // Bounds have the type of the data, which is not known yet.
  const bounds = parameters.map((parameter) => {
    const [, number] = given.find(([other]) => other === parameter) ?? [];
    if (number?.kind !== "float") return null;
    const bound = writer.constant(Tensor.float(parameter, [], [number.value]));
    return graph.opset < 15 ? bound : writer.op("CastLike", [bound, x]);
  });
  return writer.op("Clip", [x, ...bounds]);
}

/** y = f(α·A′B′ + βC) */
function gemm(writer: Writer): Written | undefined {
  const { node } = writer;
  if (!isKnown(node)) return undefined;
  const response = writer.op("Gemm", node.inputs, writer.own());
  return withActivation(writer, response, response);
}

/** y = f(conv(X, W) + B + Z) */
function convolution(writer: Writer): Written | undefined {
  const [x = null, w = null, b, added] = writer.node.inputs;
  if (!isKnown(writer.node)) return undefined;
  const response = writer.op("Conv", [x, w, ...(b ? [b] : [])], writer.own());
  return withActivation(writer, response, added ? writer.op("Add", [response, added]) : response);
}

/** The same of images whose channels come last; the weight is a Conv's. */
function channelsLast(writer: Writer): Written | undefined {
  const [x, w = null, b, added] = writer.node.inputs;
  const rank = w?.initializer?.dims.length ?? w?.shape?.length;
  if (!x || rank === undefined || !isKnown(writer.node)) return undefined;
  const space = allAxes(rank).slice(1, -1);
  const first = (value: Value) => writer.transpose(value, [0, rank - 1, ...space]);
  const response = writer.op("Conv", [first(x), w, ...(b ? [b] : [])], writer.own());
  const before = added ? writer.op("Add", [response, first(added)]) : response;
  const { product, result, replaced } = withActivation(writer, response, before);
  return { product, result: writer.transpose(result, [0, ...space.map((axis) => axis + 1), 1]), replaced };
}

/** y = FastGelu(x·W + B) */
function fastGelu(writer: Writer): Written {
  const [x = null, w = null, b] = writer.node.inputs;
  const response = writer.op("MatMul", [x, w]);
  const before = b ? writer.op("Add", [response, b]) : response;
  const result = writer.op("FastGelu", [before], {}, "com.microsoft");
  return { product: response.producer as Node, result, replaced: [writer.node] };
}

/** y = f(α·A′B′) */
function activatedMatMul(writer: Writer): Written | undefined {
  if (!isKnown(writer.node)) return undefined;
  const { product, result } = matMul(writer) ?? {};
  // The product of two activations is no layer.
  const before = result ?? writer.op("FusedMatMul", writer.node.inputs, writer.own(), "com.microsoft");
  return withActivation(writer, product?.outputs[0] ?? before, before);
}

const withActivation = (writer: Writer, response: Value, before: Value): Written => ({
  ...{ product: response.producer as Node, result: activated(writer, before), replaced: [writer.node] },
});

/** y = α·A′B′, with the factor at the data: the response and the weight are the operator's own. */
function matMul(writer: Writer): Written | undefined {
  const { graph, node } = writer;
  const operands = node.inputs.slice(0, 2) as Value[];
  const isWeight = operands.map((operand) => !!traceParameter(graph, operand));
  const flags = (side: "A" | "B") => [node.flag(`trans${side}`), node.flag(`transBatch${side}`)] as const;
  const alpha = node.float("alpha", 1);
  if (isWeight[0] === isWeight[1]) return undefined;
  // The rank of the data is not known.
  const possible = operands.every((operand, i) => {
    const [turned, batched] = flags(i === 0 ? "A" : "B");
    return !batched && (!turned || (isWeight[i] && operand.initializer?.dims.length === 2));
  });
  // The factor has the type of the data.
  if (!possible || (alpha !== 1 && graph.opset < 15)) return undefined;
  const [a, b] = operands.map((operand, i) => {
    if (isWeight[i]) return writer.transpose(operand, flags(i === 0 ? "A" : "B")[0] ? [1, 0] : [0, 1]);
    if (alpha === 1) return operand;
    const factor = writer.constant(Tensor.float("alpha", [], [alpha]));
    return writer.op("Mul", [operand, writer.op("CastLike", [factor, operand])]);
  }) as [Value, Value];
  const result = writer.op("MatMul", [a, b]);
  return { product: result.producer as Node, result, replaced: [node] };
}

/** y = Einsum(x, w): the summed indices of both as one axis, the units as another. */
function einsum(writer: Writer): Written | undefined {
  const { graph, node } = writer;
  if (!node.inputs.some((input) => input && traceParameter(graph, input))) return undefined;
  const layer = einsumLayer(graph, node);
  if (typeof layer === "string") {
    unwritten.set(node, layer);
    return undefined;
  }
  const { weightInput, terms, open, rows, summed, units, lengths } = layer;
  const perm = (from: string, to: string) => [...to].map((index) => from.indexOf(index));
  const product = (indices: string) => elementCount([...indices].map((index) => lengths.get(index) ?? 1));
  const given = node.inputs[1 - weightInput] as Value;
  const turned = open ? given : writer.transpose(given, perm(terms.data, rows + summed));
  const kept = [...rows].map(() => 0);
  const data = summed.length === 1 ? turned : writer.reshape(turned, [...kept, product(summed)]);
  const matrix = writer.transpose(node.inputs[weightInput] as Value, perm(terms.weight, summed + units));
  const isMatrix = summed.length === 1 && units.length === 1;
  const weight = isMatrix ? matrix : writer.reshape(matrix, [product(summed), product(units)]);
  const response = writer.op("MatMul", [data, weight]);
  const of = { product: response.producer as Node };
  if (units.length === 1 && terms.result === rows + units)
    return { ...of, result: response, replaced: [node] };
  const bias = addedBias(graph, node, layer);
  const flat = bias && writer.reshape(bias.value, [product(units)]);
  const whole = flat ? writer.op("Add", [response, flat]) : response;
  const split =
    units.length === 1
      ? whole
      : writer.reshape(whole, [...kept, ...[...units].map((index) => lengths.get(index) ?? 1)]);
  const result = writer.transpose(split, perm(rows + units, terms.result));
  return { ...of, result, replaced: bias ? [node, bias.add] : [node] };
}

/** The Add of one number per unit behind an Einsum, if nothing else reads its result. */
function addedBias(
  graph: Graph,
  { outputs: [output] }: Node,
  { terms: { result }, units, lengths, open }: EinsumLayer,
): { readonly value: Value; readonly add: Node } | undefined {
  const [use] = output?.uses ?? [];
  if (open || !output || !use || output.uses.size !== 1 || graph.outputs.includes(output)) return undefined;
  const { node: add, index } = use;
  const value = add.op === "Add" ? add.inputs[1 - index] : undefined;
  const dims = value?.initializer?.dims;
  if (!value || !dims || dims.length > result.length) return undefined;
  const first = result.length - dims.length;
  const isOne = allAxes(result.length).every((axis) => {
    const letter = result[axis] as string;
    const length = units.includes(letter) ? lengths.get(letter) : 1;
    return (axis < first ? 1 : dims[axis - first]) === length;
  });
  return isOne ? { value, add } : undefined;
}

const forms: Readonly<Record<string, (writer: Writer) => Written | undefined>> = {
  "com.microsoft.FusedGemm": gemm,
  "com.microsoft.FusedConv": convolution,
  ...{ "com.microsoft.FusedMatMul": matMul, "com.microsoft.TransposeMatMul": matMul },
  "com.microsoft.FusedMatMulActivation": activatedMatMul,
  "com.microsoft.GemmFastGelu": fastGelu,
  "com.microsoft.NhwcFusedConv": channelsLast,
  Einsum: einsum,
};
