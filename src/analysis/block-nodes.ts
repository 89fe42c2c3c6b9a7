import type { Graph } from "../graph/graph.ts";
import type { Node } from "../graph/node.ts";
import { parsedJson } from "../json.ts";

/** Name prefix of every node and value of an injected block. */
export const blockPrefix = "sorth/";
/** Name prefix of every node and value that a program adds to a model: loss, gradients, optimizer. Blocks never use it. */
export const stepPrefix = "step/";
/** Prefix of a model's own loss after the block's loss has taken its name. */
export const originalPrefix: string = `${blockPrefix}original/`;
/** Key of metadata_props under which a block's mark is kept. */
export const markKey = "sorth";
/** Output that holds the penalty. */
export const penaltyOutput = "sorth_penalty";

/** A node described by names, from a graph or from a record of a file. */
export interface NamedNode {
  readonly name: string;
  /** Includes the values that its bodies read. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** A node of a graph by names. */
export const namesOf = ({ name, inputs, captures, outputs }: Node): NamedNode => ({
  name,
  inputs: [...inputs, ...captures].flatMap((value) => value?.name ?? []),
  outputs: outputs.flatMap((value) => value?.name ?? []),
});

/** Distinguishes the nodes of a block from the model's own nodes with similar names. */
interface BlockNames {
  /** Outputs of the graph. */
  readonly outputs: Iterable<string>;
  /** Outputs that the block added to the graph, and the model's own values whose names it took over. */
  readonly computed: ReadonlySet<string>;
  /** The model's own values that are named like the block's, or computed by a node with such a name. */
  readonly kept: ReadonlySet<string>;
}

const stepConstant = new RegExp(`^${stepPrefix}const(_\\d+)?$`);

/** Whether a program gives this name to a constant. Other names with its prefix may belong to the model. */
export const isStepConstant = (name: string): boolean => stepConstant.test(name);

/** Whether a block uses this name for something that it adds. */
export const isBlockName = (name: string): boolean =>
  name.startsWith(blockPrefix) && !name.startsWith(originalPrefix);

/** Whether a node has a block's name or, if a tool dropped node names, computes a value with such a name. */
const isNamedSo = ({ name, outputs }: NamedNode): boolean =>
  name.startsWith(blockPrefix) || outputs.some(isBlockName);

/**
 * The nodes of a block, found by name. Excludes the model's own nodes and those whose results the rest of the model needs.
 */
export function blockNodes<T extends NamedNode>(nodes: readonly T[], names: BlockNames): Set<T> {
  const { computed, kept } = names;
  const block = new Set(
    nodes.filter((node) => isNamedSo(node) && !node.outputs.some((output) => kept.has(output))),
  );
  const allowed = (name: string) =>
    computed.has(name) || name === penaltyOutput || name.startsWith(`${penaltyOutput}/`) || isBlockName(name);
  const producers = new Map(
    [...block].flatMap((node) => node.outputs.map((output) => [output, node] as const)),
  );
  const needed = [...names.outputs].filter((name) => !allowed(name));
  for (const node of nodes)
    if (!block.has(node)) needed.push(...node.inputs.filter((name) => !computed.has(name)));
  for (let name = needed.pop(); name !== undefined; name = needed.pop()) {
    const node = producers.get(name);
    if (!node || !block.delete(node)) continue;
    needed.push(...node.inputs.filter((input) => !computed.has(input)));
  }
  return block;
}

/** What a block's mark says, read without checking it. */
const uncheckedMark = ({ metadata }: Graph) =>
  parsedJson(metadata.get(markKey) ?? "") as
    | { readonly kept?: unknown; readonly objective?: { readonly output?: unknown } }
    | null
    | undefined;

/** The model's own names that a block's mark keeps. */
function keptNames(graph: Graph): ReadonlySet<string> {
  const kept = uncheckedMark(graph)?.kept;
  return new Set(Array.isArray(kept) ? kept.filter((name) => typeof name === "string") : []);
}

/** Names that a block took over from values of the model: the renamed original is in the graph too. */
export const takenOver = (names: Iterable<string>): string[] =>
  [...names].flatMap((name) => (name.startsWith(originalPrefix) ? [name.slice(originalPrefix.length)] : []));

/**
 * The nodes of a graph's injected block, or the gradients that `grad` wrote; they are not layers of the model. If a tool
 * dropped the metadata and with it the mark, the nodes are found by name.
 */
export function injectedNodes(graph: Graph): Set<Node> {
  if (gradientOutput(graph) !== undefined)
    return new Set(graph.nodes.filter(({ name }) => name.startsWith(stepPrefix)));
  const views = new Map(graph.nodes.map((node) => [namesOf(node), node]));
  const names = [...graph.values].map(({ name }) => name);
  const found = blockNodes([...views.keys()], {
    outputs: graph.outputs.map(({ name }) => name),
    computed: new Set([...takenOver(names), ...addedByMark(graph)]),
    kept: keptNames(graph),
  });
  return new Set([...found].flatMap((view) => views.get(view) ?? []));
}

/** Outputs that the mark says were added. */
function addedByMark(graph: Graph): string[] {
  const output = uncheckedMark(graph)?.objective?.output;
  return typeof output === "string" ? [output] : [];
}

/** The output that identifies a graph written by `grad`: the gradient of one of its initializers. */
export const gradientOutput = (graph: Graph): string | undefined =>
  graph.outputs.find(({ name }) => name.endsWith("_grad") && graph.value(name.slice(0, -5))?.initializer)
    ?.name;

/** Names that a mark must keep: the model's own values that are named like a block's, or computed by a node with such a name. */
export function ownNames(graph: Graph): string[] {
  const values = [...graph.values].flatMap(({ name }) => (isBlockName(name) ? [name] : []));
  const outputs = graph.nodes.flatMap((node) =>
    node.name.startsWith(blockPrefix) ? node.outputs.flatMap((output) => output?.name ?? []) : [],
  );
  return [...new Set([...values, ...outputs])];
}

/** Whether an output may be the penalty of a block. It has the prefix if the plain name was taken. */
export const isPenaltyOutput = (name: string): boolean =>
  name === penaltyOutput || name.startsWith(`${blockPrefix}${penaltyOutput}`);

/** Whether a penalty was injected into a graph: it has a mark, or a block computes an output with the penalty's name. */
export function isInjected(graph: Graph): boolean {
  if (graph.metadata.has(markKey)) return true;
  const block = injectedNodes(graph);
  return graph.outputs.some(({ name, producer }) => isPenaltyOutput(name) && producer && block.has(producer));
}
