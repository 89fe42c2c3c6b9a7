import { SorthError } from "../../errors.ts";
import { type Attribute, attributeToProto } from "../../graph/attribute.ts";
import { bodiesOf, capturedNames, copyBody, copyNode } from "../../graph/bodies.ts";
import { bodyFromGraph, graphOfBody } from "../../graph/body-graph.ts";
import {
  domainOf,
  type FunctionProto,
  type Functions,
  functionsByKey,
  keyOf,
} from "../../graph/function-size.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { graphFromProto, nodeToProto, opsetsOf } from "../../graph/proto.ts";
import { onnx } from "../../onnx/schema.js";
import type { ExternalReader, Tensor } from "../../onnx/tensor.ts";
import { changes } from "../opset/operator-changes.ts";
import { raiseOpset } from "../opset/raise-opset.ts";
import { changed, counted, defineGraphPass, runGraphPass, unchanged } from "../pass.ts";
import { type Inlined, Inliner } from "./inliner.ts";

/**
 * Replaces calls of the model's functions by the functions' nodes, including calls in functions and in bodies (of If, Loop,
 * Scan). A function in an older opset is raised to the graph's; a function in a newer one raises the graph.
 *
 *     y = local.Block(x, w)  →  h = Gemm(x, w); y = Tanh(h)
 *
 * @throws SorthError if a function calls itself, or is written in an opset to which the model cannot be raised
 * @example
 * runGraphPass(inlineFunctions(), graph);
 * graph.functions.length; // 0
 */
export const inlineFunctions = defineGraphPass({
  name: "inline-functions",
  options: {
    /** Reads tensors of functions that lie in other files. */
    external: undefined as ExternalReader | undefined,
  },
  run(graph, { external }) {
    const { length } = graph.functions;
    if (length === 0) return unchanged("the model has no functions");
    const functions = functionsByKey(graph.functions);
    for (const definition of calledIn(graph, functions)) {
      const opsets = opsetsOf({ opsetImport: definition.opsetImport ?? [] });
      for (const [domain, version] of opsets)
        if (!graph.opsets.has(domain)) graph.opsets.set(domain, version);
      const target = opsets.get("") ?? graph.opset;
      naming(definition, () => runGraphPass(raiseOpset({ target }), graph));
    }
    inlineCalls(graph, functions, "", external);
    graph.functions.length = 0;
    return changed(counted(length, "function"));
  },
});

/** @param prefix - put before names inside a body, because these must differ from the names of values outside it */
function inlineCalls(
  graph: Graph,
  functions: Functions,
  prefix: string,
  external: ExternalReader | undefined,
): void {
  const keyOfNode = ({ domain, opType, overload }: Node) => keyOf(domain, opType, overload);
  const inliner = new Inliner(graph, external);
  const called = (node: Node) => functions.get(keyOfNode(node));
  for (let calls = graph.nodes.filter(called); calls.length > 0; calls = graph.nodes.filter(called)) {
    for (const call of calls) {
      inlineCall(inliner, call, called(call) as FunctionProto, `${prefix}${call.label}`);
    }
    inliner.flush();
  }
  for (const node of graph.nodes) {
    for (const [name, attribute] of node.attributes) {
      if (attribute.kind !== "graph") continue;
      if (!keysIn(attribute.value.node ?? []).some((key) => functions.has(key))) continue;
      const inner = graphOfBody(node, name, { outer: graph, external });
      inlineCalls(inner, functions, `${prefix}${node.label}/${name}/`, external);
      graph.setBodies(node, new Map([[name, bodyFromGraph(inner, capturedNames(attribute.value))]]));
    }
  }
}

/** Keys of what nodes and the bodies in them call. */
const keysIn = (nodes: readonly onnx.NodeProto.$Properties[]): string[] =>
  nodes.flatMap((node) => [
    keyOf(node.domain, node.opType ?? "", node.overload),
    ...bodiesOf(node).flatMap((body) => keysIn(body.node ?? [])),
  ]);

/** The functions that a graph calls, be it through others. */
function calledIn(graph: Graph, functions: Functions): Set<FunctionProto> {
  const found = new Set<FunctionProto>();
  const open = keysIn(graph.nodes.map(nodeToProto));
  for (let key = open.pop(); key !== undefined; key = open.pop()) {
    const definition = functions.get(key);
    if (!definition || found.has(definition)) continue;
    found.add(definition);
    open.push(...keysIn(definition.node ?? []));
  }
  return found;
}

/** Adds the name of the function to an error. */
function naming<T>(definition: FunctionProto, build: () => T): T {
  try {
    return build();
  } catch (error) {
    if (!(error instanceof SorthError)) throw error;
    throw new SorthError(`the function ${definition.domain}.${definition.name}: ${error.message}`, {
      cause: error,
    });
  }
}

function inlineCall(inliner: Inliner, call: Node, definition: FunctionProto, stem: string): void {
  const bindings = new Map<string, Value | null>(
    (definition.input ?? []).map((name, index) => [name, call.inputs[index] ?? null]),
  );
  const attributes = new Map<string, Attribute | onnx.AttributeProto.$Properties>([
    ...(definition.attributeProto ?? []).map((proto) => [proto.name ?? "", proto] as const),
    ...call.attributes,
  ]);
  const bound = (definition.node ?? []).map((node) => bindAttributes(node, attributes, call));
  const body = inOpsetOf(inliner.graph, definition, bound);
  inliner.replace(call, inliner.inline(body, stem, bindings, definition.output ?? []));
}

/** A node of a function in which references to attributes are replaced by the call's, or the function's defaults. */
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

/** A function's nodes in the form of the graph's opset, which is no older than the function's. */
function inOpsetOf(
  graph: Graph,
  definition: FunctionProto,
  nodes: readonly onnx.NodeProto.$Properties[],
): Inlined {
  const own = opsetsOf({ opsetImport: definition.opsetImport ?? [] }).get("") ?? graph.opset;
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
  naming(definition, () => runGraphPass(raiseOpset({ target: graph.opset }), raised));
  return {
    node: raised.sorted().map(nodeToProto),
    initializer: raised.initializers.map((value) => (value.initializer as Tensor).toProto()),
  };
}
