import Long from "long";
import { copyBody, copyNode, mapBodies } from "../graph/bodies.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { nodeToProto, opsetImport, valueInfo } from "../graph/proto.ts";
import { encodeModelProto } from "../onnx/codec.ts";
import { DataType, type DataTypeName } from "../onnx/data-types.ts";
import { onnx } from "../onnx/schema.js";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import type { Probe, ProbedOutput } from "./probe.ts";

/** Constants with more elements than this become inputs of the probe copy, since their numbers decide no shape. */
const largest = 1024;

/** Types that ONNX Runtime's JavaScript bindings cannot describe at an input or output: they throw. */
const undescribed = new Set<DataTypeName>([
  "bfloat16",
  "float8e4m3fn",
  "float8e4m3fnuz",
  "float8e5m2",
  "float8e5m2fnuz",
  "float8e8m0",
  "float4e2m1",
  "complex64",
  "complex128",
  "uint2",
  "int2",
]);

/** Whether the bindings can describe a value of this type. */
export const isDescribed = (type: DataTypeName): boolean => !undescribed.has(type);

const isLarge = (tensor: Tensor): boolean => tensor.type !== "string" && elementCount(tensor.dims) > largest;

/** A named tensor type as a message. */
function tensorInfo(name: string, type: DataTypeName, shape: readonly number[]): onnx.ValueInfoProto {
  return new onnx.ValueInfoProto({
    name,
    type: {
      tensorType: {
        elemType: DataType[type],
        shape: { dim: shape.map((dim) => ({ dimValue: Long.fromNumber(dim) })) },
      },
    },
  });
}

/** A node that converts to another type. */
function castNode(from: string, to: string, type: DataTypeName): onnx.NodeProto {
  return new onnx.NodeProto({
    opType: "Cast",
    input: [from],
    output: [to],
    attribute: [
      { name: "to", type: onnx.AttributeProto.AttributeType.INT, i: Long.fromNumber(DataType[type]) },
    ],
  });
}

/** The declared outputs of a probe copy: values, or additional nodes with one output each. */
interface ProbeOutputs {
  /** Values declared by name only. */
  readonly values: readonly Value[];
  /** Values whose shape is declared as an output; the length of `Shape(value)` is the rank. Output name by value. */
  readonly shapesOf?: ReadonlyMap<Value, string>;
  /** Values of a type that no binding describes; their conversion to float is declared. Output name by value. */
  readonly castsOf?: ReadonlyMap<Value, string>;
  /** Types of results of CastLike, which become those of Cast. */
  readonly casts?: ReadonlyMap<Value, DataTypeName> | undefined;
}

/**
 * The copy of a graph with which ONNX Runtime is asked for shapes (DESIGN §5.1). Large constants become inputs, so that no
 * weight is copied; input dimensions are as given; outputs are declared by name only, so that claims of the file are ignored.
 * @param branch - the branch that replaces both branches of every If
 * @param given - outputs of nodes that the copy leaves out; they become inputs
 */
export function probeModel(
  graph: Graph,
  inputs: ReadonlyMap<Value, readonly number[]>,
  outputs: ProbeOutputs,
  given: ReadonlyMap<
    Value,
    { readonly type: DataTypeName | undefined; readonly shape: readonly number[] | undefined }
  > = new Map(),
  branch?: BranchName,
): Uint8Array {
  const node: onnx.NodeProto.$Properties[] = [];
  const input: onnx.ValueInfoProto[] = [];
  const initializer: onnx.TensorProto.$Properties[] = [];
  const feed = (name: string, type: DataTypeName, shape: readonly number[]) => {
    if (isDescribed(type)) {
      input.push(tensorInfo(name, type, shape));
      return;
    }
    const stand = graph.freshName(`${name}.float`);
    input.push(tensorInfo(stand, "float", shape));
    node.push(castNode(stand, name, type));
  };
  for (const value of graph.inputs) {
    if (value.initializer) continue;
    const shape = inputs.get(value);
    if (value.type && shape) feed(value.name, value.type, shape);
    else input.push(valueInfo(value));
  }
  for (const { name, initializer: tensor } of graph.initializers) {
    if (!tensor) continue;
    if (isLarge(tensor)) feed(name, tensor.type, tensor.dims);
    else initializer.push(tensor.named(name).toProto());
  }
  for (const original of graph.sorted()) {
    const constant = constantOf(original);
    const output = original.outputs[0];
    if (original.outputs.some((value) => value && given.has(value))) {
      for (const value of original.outputs) {
        const known = value && given.get(value);
        if (value && known?.type && known.shape) feed(value.name, known.type, known.shape);
      }
      continue;
    }
    const type = output && outputs.casts?.get(output);
    if (constant && output && isLarge(constant)) feed(output.name, constant.type, constant.dims);
    else if (type) node.push(castNode(original.inputs[0]?.name ?? "", output.name, type));
    else node.push(...standIns(graph, original).map((proto) => withBranch(proto, branch)));
  }
  for (const [value, name] of outputs.shapesOf ?? []) {
    node.push(new onnx.NodeProto({ opType: "Shape", input: [value.name], output: [name] }));
  }
  for (const [value, name] of outputs.castsOf ?? []) node.push(castNode(value.name, name, "float"));
  const names = [
    ...outputs.values.map((value) => value.name),
    ...(outputs.shapesOf?.values() ?? []),
    ...(outputs.castsOf?.values() ?? []),
  ];
  return encodeModelProto(
    new onnx.ModelProto({
      irVersion: Long.fromNumber(10),
      opsetImport: opsetImport(graph),
      functions: [...graph.functions],
      graph: new onnx.GraphProto({
        name: "probe",
        node,
        input,
        initializer,
        output: names.map((name) => new onnx.ValueInfoProto({ name })),
      }),
    }),
  );
}

const opposites: ReadonlyMap<string, string> = new Map([
  ["GreaterOrEqual", "Less"],
  ["LessOrEqual", "Greater"],
]);

type BranchName = "then_branch" | "else_branch";

/**
 * A node with one of its branches as both, in nested bodies too, if one is named. What an If claims of the results of its branches
 * is left out: PyTorch's older exporter gives some the wrong rank, and ONNX Runtime believes it.
 */
function withBranch(node: onnx.NodeProto.$Properties, branch?: BranchName): onnx.NodeProto.$Properties {
  if (!node.attribute?.some(({ g }) => g)) return node;
  const isIf = node.opType === "If";
  const chosen = node.attribute.find(({ name }) => name === branch)?.g;
  const attribute = mapBodies(node, (body) => {
    const taken = isIf && chosen ? chosen : body;
    return copyBody(taken, {
      node: (taken.node ?? []).map((inner) => withBranch(inner, branch)),
      ...(isIf && {
        output: (taken.output ?? []).map(({ name }) => new onnx.ValueInfoProto({ name: name ?? "" })),
      }),
      ...(isIf && { valueInfo: [] }),
    });
  });
  return copyNode(node, { attribute });
}

/**
 * Asks ONNX Runtime for the outputs of a probe copy. If the sizes fit only one branch of an If, it refuses the copy, though it
 * would run the model while the other branch is not taken. Then the branch that fits replaces both.
 * @throws with ONNX Runtime's message if it refuses the model with either branch
 */
export async function probeOutputs(
  graph: Graph,
  probe: Probe,
  ...[inputs, outputs, given]: [
    Parameters<typeof probeModel>[1],
    ProbeOutputs,
    Parameters<typeof probeModel>[3]?,
  ]
): Promise<readonly ProbedOutput[]> {
  try {
    return await probe.outputs(probeModel(graph, inputs, outputs, given));
  } catch (error) {
    if (!graph.nodes.some(({ op }) => op === "If")) throw error;
    for (const branch of ["then_branch", "else_branch"] as const) {
      try {
        return await probe.outputs(probeModel(graph, inputs, outputs, given, branch));
      } catch {
        // Try the other branch; if both fail, report the error of the unchanged model.
      }
    }
    throw error;
  }
}

/**
 * The nodes that represent a node in the probe copy: the node itself, or equivalents if ONNX Runtime infers no shape for it.
 * GreaterOrEqual and LessOrEqual of opsets 12 to 15 and MeanVarianceNormalization are functions whose shape it leaves unknown.
 */
function standIns(graph: Graph, node: Node): onnx.NodeProto[] {
  const proto = nodeToProto(node);
  const output = proto.output?.[0] ?? "";
  if (node.op === "MeanVarianceNormalization") {
    return [new onnx.NodeProto({ opType: "Identity", input: proto.input, output: [output] })];
  }
  const opposite = opposites.get(node.op);
  if (!opposite) return [proto];
  const inverse = graph.freshName(`${output}.inverse`);
  return [
    new onnx.NodeProto({ opType: opposite, input: proto.input, output: [inverse] }),
    new onnx.NodeProto({ opType: "Not", input: [inverse], output: [output] }),
  ];
}

/** The tensor of a Constant node, whichever attribute holds it; undefined for sparse tensors and strings. */
export function constantOf(node: Pick<Node, "opType" | "domain" | "attributes">): Tensor | undefined {
  if (node.opType !== "Constant" || node.domain !== "") return undefined;
  for (const [name, attribute] of node.attributes) {
    const { kind, value } = attribute;
    if (name === "value" && kind === "tensor") return value;
    if (name === "value_float" && kind === "float") return Tensor.float("", [], [value]);
    if (name === "value_floats" && kind === "floats") return Tensor.float("", [value.length], value);
    if (name === "value_int" && kind === "int") return Tensor.int64("", [], [value]);
    if (name === "value_ints" && kind === "ints") return Tensor.int64("", [value.length], value);
  }
  return undefined;
}

/** The tensor of an initializer or of a Constant node's output; undefined for every other value. */
export const constantTensor = (value: Value | null | undefined): Tensor | undefined =>
  value?.initializer ?? (value?.producer && constantOf(value.producer));
