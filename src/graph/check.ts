import { checkFields } from "../check-arguments.ts";
import { SorthError } from "../errors.ts";
import type { Graph } from "./graph.ts";
import type { Node, Value } from "./node.ts";

/**
 * Checks that a graph is sound: value and node names are unique, every value read is defined, producers and uses agree,
 * there is no cycle, outputs exist, and the domain of every operator is imported.
 * @throws SorthError that lists the first five faults, each with its node or value, and the number of the others
 */
export function checkGraph(graph: Graph): void {
  checkFields("a graph is what graphOf gives", graph, "nodes", "values");
  const readers = readersOf(graph);
  const faults = [
    ...valueFaults(graph),
    ...nameFaults(graph),
    ...graph.nodes.flatMap((node) => nodeFaults(graph, node, readers)),
    ...orderFaults(graph),
  ];
  if (faults.length === 0) return;
  const rest = faults.length > 5 ? `; and ${faults.length - 5} more` : "";
  throw new SorthError(`the graph is not sound: ${faults.slice(0, 5).join("; ")}${rest}`);
}

function valueFaults(graph: Graph): string[] {
  const faults: string[] = [];
  const inputs = new Set(graph.inputs);
  const nodes = new Set(graph.nodes);
  if (inputs.size !== graph.inputs.length) faults.push("an input is listed twice");
  for (const value of graph.values) {
    const { name, producer } = value;
    const at = `value "${name}"`;
    if (name === "") faults.push("a value has no name");
    if (producer && (value.initializer || inputs.has(value))) {
      faults.push(`${at} is both computed and ${value.initializer ? "an initializer" : "an input"}`);
    }
    if (producer && !nodes.has(producer)) faults.push(`${at} has a producer that is not in the graph`);
    else if (producer && !producer.outputs.includes(value))
      faults.push(`${at} is not among its producer's outputs`);
    if (value.initializer && value.initializer.name !== name) {
      faults.push(`${at} holds a tensor named "${value.initializer.name}"`);
    }
    for (const { node, index } of value.uses) {
      const reads = index < 0 ? node.captures.includes(value) : node.inputs[index] === value;
      if (!nodes.has(node))
        faults.push(`${at} lists node "${node.label}" as a reader, which is not in the graph`);
      else if (!reads) faults.push(`${at} lists node "${node.label}" as a reader, which does not read it`);
    }
  }
  for (const value of [...graph.inputs, ...graph.outputs]) {
    if (graph.value(value.name) !== value)
      faults.push(`input or output "${value.name}" is not a value of the graph`);
  }
  for (const output of graph.outputs) {
    if (!isDefined(graph, output)) faults.push(`nothing computes output "${output.name}"`);
  }
  return faults;
}

function nameFaults(graph: Graph): string[] {
  const seen = new Set<string>();
  const twice = new Set<string>();
  for (const { name } of graph.nodes) {
    if (name !== "" && seen.has(name)) twice.add(name);
    seen.add(name);
  }
  return [...twice].map((name) => `two nodes are named "${name}"`);
}

/** For each value, its reading nodes and their input indices. An index, because a constant may have thousands of readers. */
const readersOf = (graph: Graph): ReadonlyMap<Value, ReadonlyMap<Node, ReadonlySet<number>>> =>
  new Map(
    [...graph.values].map((value) => {
      const places = new Map<Node, Set<number>>();
      for (const { node, index } of value.uses) {
        const known = places.get(node);
        if (known) known.add(index);
        else places.set(node, new Set([index]));
      }
      return [value, places] as const;
    }),
  );

function nodeFaults(graph: Graph, node: Node, readers: ReturnType<typeof readersOf>): string[] {
  const faults: string[] = [];
  const at = `node "${node.label}" (${node.op})`;
  const isFunction = graph.functions.some(
    ({ name, domain }) => name === node.opType && (domain ?? "") === node.domain,
  );
  if (!graph.opsets.has(node.domain) && !isFunction) {
    faults.push(`${at} needs an operator set of domain "${node.domain || "ai.onnx"}", which is not imported`);
  }
  const reads = [...node.inputs.map((value, index) => ({ value, index })), ...captured(node)];
  for (const { value, index } of reads) {
    if (!value) continue;
    if (graph.value(value.name) !== value)
      faults.push(`${at} reads "${value.name}", which is not a value of the graph`);
    else if (!isDefined(graph, value)) faults.push(`${at} reads "${value.name}", which nothing computes`);
    if (!readers.get(value)?.get(node)?.has(index)) {
      faults.push(`${at} reads "${value.name}", which does not list it as a reader`);
    }
  }
  for (const output of node.outputs) {
    if (!output) continue;
    if (graph.value(output.name) !== output)
      faults.push(`${at} computes "${output.name}", which is not a value of the graph`);
    if (output.producer !== node)
      faults.push(`${at} computes "${output.name}", which names another producer`);
  }
  return faults;
}

const captured = (node: Node): { value: Value; index: number }[] =>
  node.captures.map((value) => ({ value, index: -1 }));

const isDefined = (graph: Graph, value: Value): boolean =>
  value.producer !== undefined || value.initializer !== undefined || graph.inputs.includes(value);

function orderFaults(graph: Graph): string[] {
  try {
    graph.sorted();
    return [];
  } catch (error) {
    if (error instanceof SorthError) return [error.message];
    throw error;
  }
}
