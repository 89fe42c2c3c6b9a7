import { SorthError } from "../errors.ts";
import { dataTypeName } from "../onnx/data-types.ts";
import { onnx } from "../onnx/schema.js";
import type { ExternalReader, Tensor } from "../onnx/tensor.ts";
import { capturedNames } from "./bodies.ts";
import { Graph } from "./graph.ts";
import type { Node, Value } from "./node.ts";
import { declaredShape, nodeToProto, readGraph, valueInfo } from "./proto.ts";

/** Options of {@link graphOfBody}. */
interface BodyGraphOptions {
  /** The graph around the body, whose operator sets also apply inside. */
  readonly outer?: Graph;
  /** Operator sets of the body, if they differ from those of the graph around it. */
  readonly opsets?: ReadonlyMap<string, number>;
  /** Whether to take types and shapes from the body's value infos, as {@link bodyFromGraph} writes them. */
  readonly typed?: boolean;
  readonly external?: ExternalReader | undefined;
}

/**
 * A body of a node as a separate graph. A captured value becomes an input, or an initializer if it is one outside.
 * @param attribute - attribute that holds the body, such as `then_branch` or `body`
 */
export function graphOfBody(node: Node, attribute: string, options: BodyGraphOptions = {}): Graph {
  const body = bodyOf(node, attribute);
  const { outer } = options;
  const graph = new Graph(body.name ?? "", options.opsets ?? outer?.opsets ?? new Map());
  const captured = capturedNames(body);
  for (const value of node.captures) {
    if (!captured.has(value.name)) continue;
    if (value.initializer) graph.addInitializer(value.initializer);
    else graph.addInput(value.name, value.type, value.shape).otherType = value.otherType;
  }
  readGraph(graph, body, options.external);
  if (options.typed) {
    for (const { name, type } of [...(body.valueInfo ?? []), ...(body.output ?? [])]) {
      const value = graph.value(name ?? "");
      const shape = declaredShape(type);
      if (!value || !shape?.every((dim) => typeof dim === "number")) continue;
      value.type = dataTypeName(type?.tensorType?.elemType ?? 0);
      value.shape = shape as number[];
    }
  }
  return graph;
}

/** The body in an attribute of a node. @throws SorthError when the node has no body of that name */
export function bodyOf(node: Node, attribute: string): onnx.GraphProto.$Properties {
  const body = node.attributes.get(attribute);
  if (body?.kind !== "graph") throw new SorthError(`${node.op} node "${node.label}" has no ${attribute}`);
  return body.value;
}

/**
 * The inverse of {@link graphOfBody}: a body that captures the given names. Known types and shapes are written into it,
 * because differentiating the node needs them.
 * @param keepExternal - leave large external initializers in their files; the body refers to them
 */
export function bodyFromGraph(
  graph: Graph,
  captured: ReadonlySet<string>,
  keepExternal = false,
): onnx.GraphProto {
  const own = (value: Value) => !captured.has(value.name);
  const inner = [...graph.values].filter(
    (value) => value.producer && value.type && value.shape && !graph.outputs.includes(value),
  );
  return new onnx.GraphProto({
    name: graph.name || "body",
    node: graph.sorted().map(nodeToProto),
    initializer: graph.initializers
      .filter(own)
      .map((value) => (value.initializer as Tensor).toProto(keepExternal)),
    input: graph.inputs.filter(own).map(valueInfo),
    output: graph.outputs.map(valueInfo),
    valueInfo: inner.map(valueInfo),
  });
}
