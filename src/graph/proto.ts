import Long from "long";
import { FileError, SorthError } from "../errors.ts";
import { tableOf } from "../lookup.ts";
import { DataType, dataTypeName } from "../onnx/data-types.ts";
import { onnx } from "../onnx/schema.js";
import { type ExternalReader, Tensor } from "../onnx/tensor.ts";
import { attributeFromProto, attributeToProto } from "./attribute.ts";
import { bodiesOf, capturedNames } from "./bodies.ts";
import { checkFunctionSize } from "./function-size.ts";
import { Graph } from "./graph.ts";
import type { DeclaredDim, Node, Value } from "./node.ts";

/** The shape declared in a file; undefined if it declares none. */
export function declaredShape(
  type: onnx.TypeProto.$Properties | null | undefined,
): DeclaredDim[] | undefined {
  return type?.tensorType?.shape?.dim?.map((dim) => {
    if (dim.dimValue === undefined || dim.dimValue === null) return dim.dimParam || undefined;
    const length = Long.fromValue(dim.dimValue).toNumber();
    return length < 0 ? undefined : length;
  });
}

/** Versions of a model's imported operator sets by domain. */
export function opsetsOf(model: onnx.ModelProto.$Properties): Map<string, number> {
  return new Map(
    (model.opsetImport ?? []).map(({ domain, version }) => [
      domain === "ai.onnx" ? "" : (domain ?? ""),
      Long.fromValue(version ?? 0).toNumber(),
    ]),
  );
}

/**
 * Builds the graph of a model message. Tensors stay views of the message's bytes.
 * @param external - reads tensors from external data files
 * @throws SorthError when names clash, or when a node reads a value that nothing defines
 */
export function graphFromProto(model: onnx.ModelProto.$Properties, external?: ExternalReader): Graph {
  const proto = model.graph;
  if (!proto) throw new FileError("the model has no graph");
  checkFunctionSize(model.functions ?? [], proto.node ?? []);
  for (const { node } of [proto, ...(model.functions ?? [])]) checkNodes(node ?? []);
  const graph = new Graph(proto.name ?? "", opsetsOf(model));
  readGraph(graph, proto, external);
  graph.functions.push(...(model.functions ?? []));
  for (const { key, value } of model.metadataProps ?? []) graph.metadata.set(key ?? "", value ?? "");
  return graph;
}

/**
 * Reads a graph message into a graph that is empty, or that holds the values that the message's nodes capture.
 * @throws SorthError when names clash, when a node reads a value that nothing defines, and for a cycle
 */
export function readGraph(
  graph: Graph,
  proto: onnx.GraphProto.$Properties,
  external: ExternalReader | undefined,
): void {
  for (const input of proto.input ?? []) {
    const declared = declaredShape(input.type);
    const elemType = input.type?.tensorType?.elemType;
    const type = elemType ? dataTypeName(elemType) : undefined;
    const fixed = declared?.every((dim) => typeof dim === "number") ? (declared as number[]) : undefined;
    const value = graph.addInput(input.name ?? "", type, fixed, declared);
    if (input.type && !input.type.tensorType) value.otherType = input.type;
  }
  for (const tensor of proto.initializer ?? []) {
    if (graph.value(tensor.name ?? "")?.initializer) {
      throw new SorthError(`the file holds two initializers named "${tensor.name}": remove one of them`);
    }
    graph.addInitializer(Tensor.fromProto(tensor, external));
  }
  for (const sparse of proto.sparseInitializer ?? []) {
    throw new SorthError(
      `the sparse initializer "${sparse.values?.name}" is not supported; store it as a dense tensor`,
    );
  }
  let inOrder = true;
  const named = (name: string) => {
    const value = name === "" ? null : graph.reference(name);
    inOrder &&= !value || Boolean(value.producer || value.initializer) || graph.inputs.includes(value);
    return value;
  };
  for (const node of proto.node ?? []) {
    const captured = new Set(bodiesOf(node).flatMap((body) => [...capturedNames(body)]));
    graph.addNode({
      opType: node.opType ?? "",
      domain: node.domain ?? "",
      overload: node.overload ?? "",
      name: node.name ?? "",
      attributes: new Map((node.attribute ?? []).map((a) => [a.name ?? "", attributeFromProto(a, external)])),
      inputs: (node.input ?? []).map(named),
      outputs: node.output ?? [],
      captures: [...captured].flatMap((name) => named(name) ?? []),
      metadata: new Map((node.metadataProps ?? []).map(({ key, value }) => [key ?? "", value ?? ""])),
    });
  }
  for (const output of proto.output ?? []) {
    const value = graph.addOutput(graph.reference(output.name ?? ""));
    value.declared = declaredShape(output.type);
    const elemType = output.type?.tensorType?.elemType;
    if (elemType) value.type = dataTypeName(elemType);
  }
  for (const { name, metadataProps } of proto.valueInfo ?? []) {
    const value = metadataProps?.length ? graph.value(name ?? "") : undefined;
    if (value)
      value.metadata = new Map(metadataProps?.map(({ key, value: text }) => [key ?? "", text ?? ""]));
  }
  for (const value of graph.values) {
    if (value.producer || value.initializer || graph.inputs.includes(value)) continue;
    const reader = [...value.uses][0]?.node.label;
    throw new SorthError(
      `nothing computes "${value.name}", which ${reader ? `node "${reader}" reads` : "is a graph output"}`,
    );
  }
  // In a cycle, a walk from a node to those before it would never end.
  if (!inOrder) graph.sorted();
}

/** The message of a value: its name, and its type and shape as far as they are known. */
export function valueInfo(value: Value): onnx.ValueInfoProto {
  const info = new onnx.ValueInfoProto({ name: value.name });
  if (value.otherType) info.type = value.otherType;
  if (!value.type) return info;
  const tensorType: onnx.TypeProto.Tensor.$Properties = { elemType: DataType[value.type] };
  const dims = value.shape ?? value.declared;
  if (dims) {
    tensorType.shape = {
      dim: dims.map((dim) =>
        typeof dim === "number"
          ? { dimValue: Long.fromNumber(dim) }
          : dim === undefined
            ? {}
            : { dimParam: dim },
      ),
    };
  }
  info.type = { tensorType };
  return info;
}

/** The message of a node. */
export function nodeToProto(node: Node): onnx.NodeProto {
  const names = (values: readonly (Value | null)[]) => {
    const list = values.map((value) => value?.name ?? "");
    while (list.at(-1) === "") list.pop();
    return list;
  };
  return new onnx.NodeProto({
    name: node.name,
    opType: node.opType,
    domain: node.domain,
    ...(node.overload ? { overload: node.overload } : {}),
    input: names(node.inputs),
    output: names(node.outputs),
    attribute: [...node.attributes].map(([name, attribute]) => attributeToProto(name, attribute)),
    metadataProps: [...node.metadata].map(([key, value]) => ({ key, value })),
  });
}

/** Options of {@link graphToProto}. */
export interface ProtoOptions {
  readonly irVersion?: number;
  readonly producer?: string;
  readonly keepExternal?: boolean;
}

/** The opsets of a graph as a model message has them. */
export const opsetImport = ({ opsets }: Graph) =>
  [...opsets].map(([domain, version]) => ({ domain, version: Long.fromNumber(version) }));

/**
 * The graph as a model message, with nodes in topological order; initializers are views, not copies.
 * @param irVersion - default 10, which every ONNX Runtime of the last two years loads
 * @param keepExternal - leave large external initializers in their files; the message refers to them
 */
export function graphToProto(graph: Graph, options: ProtoOptions = {}): onnx.ModelProto {
  return new onnx.ModelProto({
    irVersion: Long.fromNumber(options.irVersion ?? 10),
    producerName: options.producer ?? "sorth-onnx",
    opsetImport: opsetImport(graph),
    graph: new onnx.GraphProto({
      name: graph.name || "graph",
      node: graph.sorted().map(nodeToProto),
      initializer: graph.initializers.map((value) =>
        (value.initializer as Tensor).toProto(options.keepExternal),
      ),
      input: graph.inputs.map(valueInfo),
      output: graph.outputs.map(valueInfo),
    }),
    functions: [...graph.functions],
    metadataProps: [...graph.metadata].map(([key, value]) => ({ key, value })),
  });
}

/** Attributes by which ONNX Runtime divides while it reads a model, whatever number they hold. */
const divisors: Readonly<Record<string, string>> = tableOf({
  Conv: "group",
  ConvTranspose: "group",
  GatherBlockQuantized: "block_size",
});

/**
 * Refuses nodes on which ONNX Runtime ends the process or fills the memory: a Split that states another number of outputs than
 * it has, and an attribute below 1 by which it divides.
 * @param nodes - those of a graph or of a function
 * @throws SorthError that names the node
 */
function checkNodes(nodes: readonly onnx.NodeProto.$Properties[]): void {
  for (const node of nodes) {
    for (const body of bodiesOf(node)) checkNodes(body.node ?? []);
    const { opType, domain, name } = node;
    const outputs = node.output ?? [];
    const attribute = (wanted: string | undefined) => node.attribute?.find((one) => one.name === wanted);
    const refuse = (says: string) => {
      throw new SorthError(`${opType} "${name || outputs[0]}" ${says}: the file is damaged, export it again`);
    };
    const divisor = attribute(divisors[opType ?? ""]);
    const number = Long.fromValue(divisor?.i ?? 0).toNumber();
    if (divisor && number < 1) refuse(`has the ${divisor.name} ${number}, which must be 1 or more`);
    if (opType !== "Split" || domain) continue;
    const stated = attribute("num_outputs")?.i ?? undefined;
    if (stated !== undefined && Long.fromValue(stated).toNumber() !== outputs.length)
      refuse(`states ${stated} outputs (num_outputs) and has ${outputs.length}`);
  }
}
