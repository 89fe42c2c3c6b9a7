import Long from "long";
import { DataType, dataTypeName, isFloat } from "../../src/onnx/data-types.ts";
import { Model } from "../../src/onnx/model.ts";
import { onnx } from "../../src/onnx/schema.js";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { differentiate } from "../../src/programs/differentiate.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";

/** The type in which a case is computed: all its floating-point numbers become this one. */
export type Real = "float" | "double";

/** A model of the backend tests and its data, every floating-point number in one type. */
export interface BackendCase {
  readonly proto: onnx.ModelProto;
  readonly feeds: ReadonlyMap<string, Tensor>;
  /** Names of the inputs that are moved and differentiated. */
  readonly wrt: readonly string[];
}

/** Numbers of either type as a tensor. */
export function realTensor(
  name: string,
  type: Real,
  dims: readonly number[],
  numbers: ArrayLike<number>,
): Tensor {
  const data = type === "double" ? Float64Array.from(numbers) : Float32Array.from(numbers);
  return Tensor.of(name, type, dims, data);
}

/** A tensor of floating-point numbers in another type; any other as it is. */
export function retyped(tensor: Tensor, type: Real): Tensor {
  return isFloat(tensor.type) ? realTensor(tensor.name, type, tensor.dims, tensor.numbers()) : tensor;
}

/** Attributes that name the element type of a result. */
const typeAttributes = new Set(["to", "dtype"]);

/** A copy of a model in which every floating-point number has one type. */
export function retypedModel(bytes: Uint8Array, type: Real): onnx.ModelProto {
  const model = onnx.ModelProto.decode(bytes);
  if (!model.opsetImport?.some(({ domain }) => !domain || domain === "ai.onnx")) {
    model.opsetImport = [...(model.opsetImport ?? []), { domain: "", version: Long.fromNumber(18) }];
  }
  if (model.graph) retypeGraph(model.graph, type);
  for (const { node } of model.functions ?? []) retypeNodes(node ?? [], type);
  return model;
}

function retypeGraph(graph: onnx.GraphProto.$Properties, type: Real): void {
  for (const value of [...(graph.input ?? []), ...(graph.output ?? []), ...(graph.valueInfo ?? [])]) {
    const tensor = value.type?.tensorType;
    if (tensor && isFloat(dataTypeName(tensor.elemType ?? 0))) tensor.elemType = DataType[type];
  }
  graph.initializer =
    graph.initializer?.map((proto) => retyped(Tensor.fromProto(proto), type).toProto()) ?? [];
  retypeNodes(graph.node ?? [], type);
}

function retypeNodes(nodes: readonly onnx.NodeProto.$Properties[], type: Real): void {
  for (const attribute of nodes.flatMap((node) => node.attribute ?? [])) {
    if (attribute.t) attribute.t = retyped(Tensor.fromProto(attribute.t), type).toProto();
    if (attribute.g) retypeGraph(attribute.g, type);
    if (typeAttributes.has(attribute.name ?? "") && attribute.i) {
      const code = Long.fromValue(attribute.i).toNumber();
      if (isFloat(dataTypeName(code))) attribute.i = Long.fromNumber(DataType[type]);
    }
  }
}

/** The values to feed, floating-point numbers in one type. */
export function retypedFeeds(inputs: readonly Tensor[], type: Real): Map<string, Tensor> {
  return new Map(inputs.map((tensor) => [tensor.name, retyped(tensor, type)]));
}

const node = (
  opType: string,
  input: string[],
  output: string,
  attribute: onnx.AttributeProto.$Properties[] = [],
) => new onnx.NodeProto({ opType, name: output, input, output: [output], attribute });

/**
 * The model's scalar Σ v·y over its outputs, as a further output `projection.loss`. Elements of y that are not finite count nothing.
 * @param projections - v by the name of the output
 */
function withProjection(
  model: onnx.ModelProto,
  projections: ReadonlyMap<string, Tensor>,
  finite: ReadonlyMap<string, Tensor>,
): onnx.GraphProto {
  const graph = new onnx.GraphProto(model.graph ?? {});
  graph.node = [...(graph.node ?? [])];
  graph.initializer = [...(graph.initializer ?? [])];
  const keepdims = {
    name: "keepdims",
    type: onnx.AttributeProto.AttributeType.INT,
    i: Long.fromNumber(0),
  };
  let total = "";
  [...projections].forEach(([output, v], i) => {
    let y = output;
    const mask = finite.get(output);
    if (mask) {
      graph.initializer?.push(mask.named(`projection.finite${i}`).toProto());
      const zero = realTensor(`projection.zero${i}`, v.type as Real, [], [0]);
      graph.initializer?.push(zero.toProto());
      graph.node?.push(node("Where", [`projection.finite${i}`, y, zero.name], `projection.masked${i}`));
      y = `projection.masked${i}`;
    }
    graph.initializer?.push(v.named(`projection.v${i}`).toProto());
    graph.node?.push(node("Mul", [y, `projection.v${i}`], `projection.product${i}`));
    graph.node?.push(node("ReduceSum", [`projection.product${i}`], `projection.part${i}`, [keepdims]));
    if (i > 0) graph.node?.push(node("Add", [total, `projection.part${i}`], `projection.sum${i}`));
    total = i > 0 ? `projection.sum${i}` : `projection.part${i}`;
  });
  graph.node.push(node("Identity", [total], "projection.loss"));
  graph.output = [new onnx.ValueInfoProto({ name: "projection.loss" })];
  return graph;
}

/** A gradient graph of a case, which reads the inputs of `wrt` and the masks. */
export interface CaseGradient {
  readonly proto: onnx.ModelProto;
  readonly loss: string;
  /** Name of each input's gradient. */
  readonly gradients: ReadonlyMap<string, string>;
  /** Inputs that say what a Dropout keeps. */
  readonly masks: readonly Tensor[];
}

/**
 * The model that computes the gradients of Σ v·y for the inputs of a case, by the code that users call. All else that
 * the case feeds is constant in it.
 */
export async function gradientModel(
  { proto, feeds, wrt }: BackendCase,
  projections: ReadonlyMap<string, Tensor>,
  finite: ReadonlyMap<string, Tensor>,
): Promise<CaseGradient> {
  const graph = withProjection(proto, projections, finite);
  const moved = new Set(wrt);
  const constants = [...feeds.values()].filter(({ name }) => !moved.has(name));
  graph.initializer = [...(graph.initializer ?? []), ...constants.map((tensor) => tensor.toProto())];
  graph.input = wrt.map((name) => inputInfo(feeds.get(name) as Tensor));
  const names = wrt.map((name) => name.replace(/[^\w]/g, "\\$&"));
  const built = await differentiate(
    Model.fromProto(new onnx.ModelProto({ ...proto, graph })),
    { loss: "projection.loss", wrtInputs: new RegExp(`^(${names.join("|")})$`), freeze: /./ },
    nodeProbe,
  );
  const inputs = new Map((built.model.proto.graph?.input ?? []).map((input) => [input.name, input]));
  const masks = [...built.masks.keys()].map((name) => {
    const dims = inputs.get(name)?.type?.tensorType?.shape?.dim ?? [];
    const shape = dims.map((dim) => Long.fromValue(dim.dimValue ?? 0).toNumber());
    const kept = Array.from({ length: elementCount(shape) }, (_, i) => (i % 3 === 0 ? 0 : 1));
    return realTensor(name, feeds.get(wrt[0] as string)?.type as Real, shape, kept);
  });
  return { proto: built.model.proto, loss: built.loss, gradients: built.gradients, masks };
}

function inputInfo({ name, type, dims }: Tensor): onnx.ValueInfoProto {
  const shape = { dim: dims.map((dim) => ({ dimValue: Long.fromNumber(dim) })) };
  return new onnx.ValueInfoProto({ name, type: { tensorType: { elemType: DataType[type], shape } } });
}
