import { SorthError } from "../errors.ts";
import { raiseOpset } from "../graph/adapters.ts";
import { type Attribute, attributeToProto } from "../graph/attribute.ts";
import { bodiesOf, copyBody, copyNode } from "../graph/bodies.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { changes } from "../graph/operator-changes.ts";
import { graphFromProto, nodeToProto, opsetsOf } from "../graph/proto.ts";
import { onnx } from "../onnx/schema.js";
import type { Tensor } from "../onnx/tensor.ts";
import { type Inlined, type Inliner, largestExpansion } from "./inliner.ts";

type FunctionProto = onnx.FunctionProto.$Properties;

const domainOf = (domain: string | null | undefined) => (domain === "ai.onnx" ? "" : (domain ?? ""));
const keyOf = (
  domain: string | null | undefined,
  name: string,
  overload: string | null | undefined,
): string => JSON.stringify([domainOf(domain), name, overload ?? ""]);

/**
 * Puts the nodes of the model's functions in the place of the calls, functions that functions call too. Calls inside
 * bodies (of If, Loop, Scan) stay until the body itself is inlined; functions that nobody calls any more go.
 * @throws SorthError when a function calls itself, or is written in an opset that the model cannot be brought to
 *
 * @example
 * inlineFunctions(new Inliner(graph));
 * graph.functions.length; // 0
 */
export function inlineFunctions(inliner: Inliner): void {
  const { graph } = inliner;
  if (graph.functions.length === 0) return;
  const functions = new Map(graph.functions.map((f) => [keyOf(f.domain, f.name ?? "", f.overload), f]));
  const sizeOf = sizesOf(functions);
  const called = (node: Node) => functions.get(keyOf(node.domain, node.opType, node.overload));
  const size = graph.nodes.reduce(
    (sum, { domain, opType, overload }) => sum + sizeOf(keyOf(domain, opType, overload)),
    0,
  );
  if (size > largestExpansion) {
    throw new SorthError(`the functions of the model become more than ${largestExpansion} nodes`);
  }
  for (let calls = graph.nodes.filter(called); calls.length > 0; calls = graph.nodes.filter(called)) {
    for (const call of calls) inlineCall(inliner, call, called(call) as FunctionProto);
    inliner.flush();
  }
  dropUnusedFunctions(graph);
}

/** Takes functions out of a graph in which no body calls any. */
export function dropUnusedFunctions(graph: Graph): void {
  const names = new Set(graph.functions.map(({ domain, name }) => keyOf(domain, name ?? "", "")));
  const calls = (node: onnx.NodeProto.$Properties): boolean =>
    names.has(keyOf(node.domain, node.opType ?? "", "")) ||
    bodiesOf(node).some((body) => (body.node ?? []).some(calls));
  const used = graph.nodes.some(
    (node) =>
      names.has(keyOf(node.domain, node.opType, "")) ||
      [...node.attributes.values()].some(
        (attribute) => attribute.kind === "graph" && (attribute.value.node ?? []).some(calls),
      ),
  );
  if (!used) graph.functions.length = 0;
}

function inlineCall(inliner: Inliner, call: Node, definition: FunctionProto): void {
  const bindings = new Map<string, Value | null>(
    (definition.input ?? []).map((name, index) => [name, call.inputs[index] ?? null]),
  );
  const attributes = new Map<string, Attribute | onnx.AttributeProto.$Properties>([
    ...(definition.attributeProto ?? []).map((proto) => [proto.name ?? "", proto] as const),
    ...call.attributes,
  ]);
  const bound = (definition.node ?? []).map((node) => bindAttributes(node, attributes, call));
  const body = inOpsetOf(inliner.graph, definition, bound);
  inliner.replace(call, inliner.inline(body, call.label, bindings, definition.output ?? []));
}

/** A node of a function with the call's attributes, or the function's defaults, where it refers to them. */
function bindAttributes(
  node: onnx.NodeProto.$Properties,
  given: ReadonlyMap<string, Attribute | onnx.AttributeProto.$Properties>,
  call: Node,
): onnx.NodeProto.$Properties {
  const inBodies = bodiesOf(node).length > 0;
  if (!inBodies && !node.attribute?.some(({ refAttrName }) => refAttrName)) return node;
  return copyNode(node, {
    attribute: (node.attribute ?? []).flatMap((attribute) => {
      if (attribute.g) {
        const nodes = (attribute.g.node ?? []).map((inner) => bindAttributes(inner, given, call));
        return [new onnx.AttributeProto({ ...attribute, g: copyBody(attribute.g, { node: nodes }) })];
      }
      if (!attribute.refAttrName) return [attribute];
      const value = given.get(attribute.refAttrName);
      if (!value) return [];
      const proto = "kind" in value ? attributeToProto(attribute.name ?? "", value) : value;
      if (proto.g || proto.graphs?.length) {
        throw new SorthError(
          `"${call.label}" hands a body to the function ${call.op} as its attribute "${attribute.refAttrName}", which is not supported`,
        );
      }
      return [new onnx.AttributeProto({ ...proto, name: attribute.name ?? "" })];
    }),
  });
}

/** A function's nodes in the form of the graph's opset. Where the function's is newer the graph is raised to it. */
function inOpsetOf(
  graph: Graph,
  definition: FunctionProto,
  nodes: readonly onnx.NodeProto.$Properties[],
): Inlined {
  const opsets = opsetsOf({ opsetImport: definition.opsetImport ?? [] });
  for (const [domain, version] of opsets) if (!graph.opsets.has(domain)) graph.opsets.set(domain, version);
  const own = opsets.get("") ?? graph.opset;
  try {
    if (own > graph.opset) raiseOpset(graph, own);
    const differs = nodes.some(
      ({ opType, domain }) =>
        domainOf(domain) === "" &&
        changes[opType ?? ""]?.some(({ since }) => own < since && since <= graph.opset),
    );
    if (!differs) return { node: nodes };
    const raised = graphFromProto({
      opsetImport: definition.opsetImport ?? [],
      graph: {
        node: [...nodes],
        input: (definition.input ?? []).map((name) => ({ name })),
        output: (definition.output ?? []).map((name) => ({ name })),
      },
    });
    raiseOpset(raised, graph.opset);
    return {
      node: raised.sorted().map(nodeToProto),
      initializer: raised.initializers.map((value) => (value.initializer as Tensor).toProto()),
    };
  } catch (error) {
    if (!(error instanceof SorthError)) throw error;
    throw new SorthError(`the function ${definition.domain}.${definition.name}: ${error.message}`);
  }
}

/**
 * How many nodes a call becomes, by the function's key; 1 for operators.
 * @throws SorthError when a function calls itself, be it through others: the standard forbids it
 */
function sizesOf(functions: ReadonlyMap<string, FunctionProto>): (key: string) => number {
  const sizes = new Map<string, number | "open">();
  const sizeOfNodes = (nodes: readonly onnx.NodeProto.$Properties[]): number =>
    nodes.reduce((sum, node) => {
      const bodies = bodiesOf(node).reduce((inner, body) => inner + sizeOfNodes(body.node ?? []), 0);
      return sum + sizeOf(keyOf(node.domain, node.opType ?? "", node.overload)) + bodies;
    }, 0);
  const sizeOf = (key: string): number => {
    const definition = functions.get(key);
    if (!definition) return 1;
    const known = sizes.get(key);
    if (known === "open") {
      throw new SorthError(`the function ${definition.domain}.${definition.name} calls itself`);
    }
    if (known !== undefined) return known;
    sizes.set(key, "open");
    const size = sizeOfNodes(definition.node ?? []);
    sizes.set(key, size);
    return size;
  };
  for (const key of functions.keys()) sizeOf(key);
  return sizeOf;
}
