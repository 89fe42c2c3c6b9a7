import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import type { onnx } from "../onnx/schema.js";
import { gradientOutput, injectedNodes } from "./block-nodes.ts";
import { foldedFrom } from "./exporter-names.ts";
import { namesOfNode } from "./known-names.ts";
import { matchesAny } from "./name-patterns.ts";
import { Readings } from "./readings.ts";
import type { Role } from "./roles.ts";

/** A value that a node of the model computes. */
export interface InnerValue {
  readonly value: Value;
  readonly node: Node;
  /** Every name that a user may use for it: its own, those of its node and its module, those of the layer's weight and bias. */
  readonly names: readonly string[];
}

/** A value in a body of If, Loop or Scan, or in a function of the model: it exists for a moment, and the graph cannot name it. */
interface HiddenValue {
  readonly name: string;
  readonly names: readonly string[];
  /** The body or function that it lies in, for a message. */
  readonly place: string;
}

/** Roles of initializers after which users call a layer. */
const naming: ReadonlySet<Role> = new Set<Role>(["weight", "bias", "scale", "embedding", "slope"]);

/** The part of a parameter's name that names no layer: `.weight` of `conv1.weight`. */
const attribute = /[./](weight|bias|kernel|gamma|beta)$/;

/**
 * The values that the nodes of a graph compute, in the order of the nodes, with all their names; without those of an injected
 * block.
 *
 * @example
 * innerValues(graph).filter(({ names }) => matchesAny(/^layer1\./, names)).map(({ value }) => value.name);
 */
export function innerValues(graph: Graph): InnerValue[] {
  const block = gradientOutput(graph) === undefined ? injectedNodes(graph) : new Set<Node>();
  const ofLayer = layerNames(graph);
  return graph.nodes.flatMap((node) => {
    if (block.has(node)) return [];
    const names = [...namesOfNode(node), ...(ofLayer.get(node) ?? [])];
    return node.outputs.flatMap((value) =>
      value ? [{ value, node, names: [...new Set([value.name, ...names])] }] : [],
    );
  });
}

/** The names of the weights and biases that each node reads, with and without the attribute at their end. */
function layerNames(graph: Graph): Map<Node, string[]> {
  const readings = new Readings(graph);
  const found = new Map<Node, string[]>();
  for (const value of graph.initializers) {
    const names = [value.name, ...foldedFrom(value)];
    const own = names.flatMap((name) => [name, name.replace(attribute, "")]);
    for (const { node, role, use } of readings.of(value)) {
      if (!naming.has(role) || use.index < 0) continue;
      found.set(node, [...(found.get(node) ?? []), ...own]);
    }
  }
  return found;
}

/** The values inside bodies and functions that match a pattern. */
export function hiddenValues(graph: Graph, pattern: RegExp): HiddenValue[] {
  const inBodies = graph.nodes.flatMap((node) =>
    [...node.attributes.values()].flatMap((one) =>
      one.kind === "graph" ? valuesIn(one.value.node ?? [], `the body of ${node.op} "${node.label}"`) : [],
    ),
  );
  const inFunctions = graph.functions.flatMap((one) =>
    valuesIn(one.node ?? [], `the model's function "${one.name}"`),
  );
  return [...inBodies, ...inFunctions].filter(({ names }) => matchesAny(pattern, names));
}

const valuesIn = (nodes: readonly onnx.NodeProto.$Properties[], place: string): HiddenValue[] =>
  nodes.flatMap((node) => {
    const own = (node.output ?? []).flatMap((name) =>
      name === "" ? [] : [{ name, names: [name, ...(node.name ? [node.name] : [])], place }],
    );
    const deeper = (node.attribute ?? []).flatMap(({ g }) => (g ? valuesIn(g.node ?? [], place) : []));
    return [...own, ...deeper];
  });
