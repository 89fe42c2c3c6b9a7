import type { Graph } from "../graph/graph.ts";
import type { Node } from "../graph/node.ts";

/** Name prefix of every node and value of an injected block. */
export const blockPrefix = "sorth/";
/** Name prefix of every node and value that a program adds to a model: loss, gradients, optimizer. No block has it. */
export const stepPrefix = "step/";
/** Prefix of the name that a model's own loss bears while the block computes the loss of that name. */
export const originalPrefix: string = `${blockPrefix}original/`;
/** Key of metadata_props under which a block's mark is kept. */
export const markKey = "sorth";
/** Output that holds the penalty. */
export const penaltyOutput = "sorth_penalty";

/** A node by names, be it of a graph or of a file's record. */
export interface NamedNode {
  readonly name: string;
  /** With what its bodies read. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** What tells the nodes of a block from a model's own that are named alike. */
export interface BlockNames {
  /** Outputs of the graph. */
  readonly outputs: Iterable<string>;
  /** Outputs of the graph that the block added, and own values whose names it took over. */
  readonly computed: ReadonlySet<string>;
  /** The model's own values that are named like the block's, or computed by nodes named so. */
  readonly kept: ReadonlySet<string>;
}

const stepConstant = new RegExp(`^${stepPrefix}const(_\\d+)?$`);

/** Whether a name is one that a program gives to its constants: other names with its prefix may be a model's own. */
export const isStepConstant = (name: string): boolean => stepConstant.test(name);

/** Whether a name is one that a block gives to what it adds. */
export const isBlockName = (name: string): boolean =>
  name.startsWith(blockPrefix) && !name.startsWith(originalPrefix);

/** Whether a node is named as those of a block: itself or, where a tool dropped names, what it computes. */
const isNamedSo = ({ name, outputs }: NamedNode): boolean =>
  name.startsWith(blockPrefix) || outputs.some(isBlockName);

/**
 * The nodes of a block: those of its names, but for the model's own and those whose numbers the rest of the model needs.
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

/** The model's own names that a block's mark keeps, read without checking the rest of the mark. */
function keptNames({ metadata }: Graph): ReadonlySet<string> {
  try {
    const mark: { kept?: unknown } | null = JSON.parse(metadata.get(markKey) ?? "null");
    return new Set(Array.isArray(mark?.kept) ? mark.kept.map(String) : []);
  } catch {
    return new Set();
  }
}

/** Names of values that a block took over: those of which an original is there too. */
export const takenOver = (names: Iterable<string>): string[] =>
  [...names].flatMap((name) => (name.startsWith(originalPrefix) ? [name.slice(originalPrefix.length)] : []));

/**
 * The nodes of a graph's injected block, or the gradients that `grad` wrote: no layers of the model. Without a mark, as where
 * a tool dropped the metadata, the names tell.
 * @param added - outputs that the block added, whatever their names
 */
export function injectedNodes(graph: Graph, added: Iterable<string> = []): Set<Node> {
  if (gradientOutput(graph) !== undefined)
    return new Set(graph.nodes.filter(({ name }) => name.startsWith(stepPrefix)));
  const views = new Map(
    graph.nodes.map((node) => [
      {
        name: node.name,
        inputs: [...node.inputs, ...node.captures].flatMap((value) => value?.name ?? []),
        outputs: node.outputs.flatMap((value) => value?.name ?? []),
      },
      node,
    ]),
  );
  const names = [...graph.values].map(({ name }) => name);
  const found = blockNodes([...views.keys()], {
    outputs: graph.outputs.map(({ name }) => name),
    computed: new Set([...takenOver(names), ...added, ...addedByMark(graph)]),
    kept: keptNames(graph),
  });
  return new Set([...found].flatMap((view) => views.get(view) ?? []));
}

/** Outputs that the mark says were added. */
function addedByMark({ metadata }: Graph): string[] {
  try {
    const mark: { objective?: { output?: unknown } } | null = JSON.parse(metadata.get(markKey) ?? "null");
    return typeof mark?.objective?.output === "string" ? [mark.objective.output] : [];
  } catch {
    return [];
  }
}

/** The output by which a graph that `grad` wrote is known: the gradient of one of its initializers. */
export const gradientOutput = (graph: Graph): string | undefined =>
  graph.outputs.find(({ name }) => name.endsWith("_grad") && graph.value(name.slice(0, -5))?.initializer)
    ?.name;

/** Names for a mark to keep: the model's own values that are named like a block's, or computed by nodes named so. */
export function ownNames(graph: Graph): string[] {
  const values = [...graph.values].flatMap(({ name }) => (isBlockName(name) ? [name] : []));
  const outputs = graph.nodes.flatMap((node) =>
    node.name.startsWith(blockPrefix) ? node.outputs.flatMap((output) => output?.name ?? []) : [],
  );
  return [...new Set([...values, ...outputs])];
}

/** Whether an output may be the penalty of a block: that of a taken name gets the prefix. */
export const isPenaltyOutput = (name: string): boolean =>
  name === penaltyOutput || name.startsWith(`${blockPrefix}${penaltyOutput}`);

/** Whether a penalty was injected into a graph: by its mark, or by an output of that name that a block computes. */
export function isInjected(graph: Graph): boolean {
  if (graph.metadata.has(markKey)) return true;
  const block = injectedNodes(graph);
  return graph.outputs.some(({ name, producer }) => isPenaltyOutput(name) && producer && block.has(producer));
}
