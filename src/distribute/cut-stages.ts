import { shardsDomain, shardsOp, type Typed, typed } from "../graph/emit-base.ts";
import { Graph } from "../graph/graph.ts";
import { modelOf } from "../graph/model-graph.ts";
import type { Node, Value } from "../graph/node.ts";
import type { Model, ModelSource } from "../onnx/model.ts";
import { byteLengthOf } from "../onnx/tensor.ts";

/** A value that is reduced over all shards behind a stage. */
export interface Reduction {
  /** The value of each shard. */
  readonly name: string;
  readonly op: "sum" | "mean";
  /** The name of the result, which every shard then has; default `name`. */
  readonly as?: string;
}

/** A part of a gradient graph, of standard operators. */
export interface Stage {
  readonly model: Model;
  /** What it reads: data, parameters and scalars, and values of earlier stages. */
  readonly inputs: readonly string[];
  /** The graph's outputs that it computes, what is reduced behind it, and what later stages read. */
  readonly outputs: readonly string[];
  /** What is reduced behind it, before the next stage is run. */
  readonly reduce: readonly Reduction[];
}

/** How {@link cutStages} cuts a graph. */
export interface CutOptions {
  /** The inputs that each shard has of its own: data, labels, masks. The others are the same for all shards. */
  readonly ofShard: ReadonlySet<string>;
  /** Where large weights are that stay in files. */
  readonly source: ModelSource;
}

/**
 * Cuts a graph where it needs sums or means over the shards of the batch ({@link EmitBase.overShards}): what can be computed
 * before the first of them is the first stage, what needs one of them but none behind it the second, and so on. Every sum and
 * mean is taken as early as it can be, so there are as few stages as possible. The mean over the shards of every output that
 * differs between them is taken behind the last stage.
 */
export function cutStages(graph: Graph, { ofShard, source }: CutOptions): Stage[] {
  const order = graph.sorted();
  const levels = levelsOf(order);
  sink(graph, order, levels);
  const used = [...new Set(order.filter((node) => !isReduction(node)).map((node) => levels.get(node)))];
  const stages = used.filter((level) => level !== undefined).sort((a, b) => a - b);
  const last = stages.at(-1);
  const differing = differingValues(graph, order, ofShard);
  return stages.map((level): Stage => {
    const here = order.filter((node) => levels.get(node) === level);
    const nodes = here.filter((node) => !isReduction(node));
    const inner = here.filter(isReduction).map((node): Reduction => {
      const [from, to] = [node.inputs[0] as Value, node.outputs[0] as Value];
      return { name: from.name, op: node.string("reduce", "sum") as Reduction["op"], as: to.name };
    });
    const own = level === last ? graph.outputs.filter((output) => differing.has(output)) : [];
    const means = own.map(({ name }): Reduction => ({ name, op: "mean" }));
    const isNeeded = (value: Value) =>
      graph.outputs.includes(value) ||
      [...value.uses].some(({ node }) => isReduction(node) || levels.get(node) !== level);
    const outputs = nodes.flatMap((node) =>
      node.outputs.filter((value) => value !== null && isNeeded(value)),
    );
    const stage = stageGraph(graph, nodes, outputs as Value[]);
    return {
      model: modelOf(stage, source),
      inputs: stage.inputs.map(({ name }) => name),
      outputs: stage.outputs.map(({ name }) => name),
      reduce: [...inner, ...means],
    };
  });
}

const isReduction = ({ domain, opType }: Node): boolean => domain === shardsDomain && opType === shardsOp;

const readsOf = (node: Node): Value[] => [...node.inputs.filter((value) => value !== null), ...node.captures];

/** The stage of every node if it is run as early as possible; a reduction belongs to the stage behind which it is taken. */
function levelsOf(order: readonly Node[]): Map<Node, number> {
  const levels = new Map<Node, number>();
  for (const node of order)
    levels.set(node, Math.max(0, ...readsOf(node).map((value) => levelOf(value, levels))));
  return levels;
}

/** The first stage that can read a value. */
function levelOf({ producer }: Value, levels: ReadonlyMap<Node, number>): number {
  const level = producer && levels.get(producer);
  if (level === undefined) return 0;
  return producer && isReduction(producer) ? level + 1 : level;
}

/** Moves nodes to the stage of their first reader where that makes what stages hand on smaller, such as turned weights. */
function sink(graph: Graph, order: readonly Node[], levels: Map<Node, number>): void {
  const outputs = new Set(graph.outputs);
  for (const node of order.toReversed()) {
    const level = levels.get(node) as number;
    const results = node.outputs.filter((value) => value !== null);
    if (isReduction(node) || results.some((value) => outputs.has(value))) continue;
    const readers = results.flatMap(({ uses }) => [...uses].map((use) => levels.get(use.node) as number));
    const first = Math.min(...readers);
    if (readers.length === 0 || first <= level) continue;
    // Weights and data are at hand in every stage, and so is what a later stage reads anyway.
    const moved = readsOf(node).filter((value) => {
      if (!value.producer) return false;
      return ![...value.uses].some((use) => use.node !== node && (levels.get(use.node) as number) >= first);
    });
    if (bytesOf(moved) <= bytesOf(results)) levels.set(node, first);
  }
}

const bytesOf = (values: readonly Value[]): number =>
  values.reduce((sum, { type, shape }) => sum + (type && shape ? byteLengthOf(type, shape) : 0), 0);

/** Values that differ between shards: what depends on their own data other than through a reduction. */
function differingValues(graph: Graph, order: readonly Node[], ofShard: ReadonlySet<string>): Set<Value> {
  const differing = new Set(graph.inputs.filter(({ name }) => ofShard.has(name)));
  for (const node of order) {
    if (isReduction(node) || !readsOf(node).some((value) => differing.has(value))) continue;
    for (const output of node.outputs) if (output) differing.add(output);
  }
  return differing;
}

/** A graph of some nodes of another, under the same names. */
function stageGraph(whole: Graph, nodes: readonly Node[], outputs: readonly Value[]): Graph {
  const graph = new Graph(
    whole.name,
    [...whole.opsets].filter(([domain]) => domain !== shardsDomain) as never,
  );
  graph.functions.push(...whole.functions);
  const own = new Set(nodes);
  const copies = new Map<Value, Value>();
  const copyOf = (value: Value): Value => {
    const known = copies.get(value);
    if (known) return known;
    const copy = added(graph, value);
    copies.set(value, copy);
    return copy;
  };
  for (const node of nodes) {
    for (const value of readsOf(node)) if (!value.producer || !own.has(value.producer)) copyOf(value);
  }
  for (const node of nodes) {
    const { opType, domain, overload, name, attributes, metadata } = node;
    const copy = graph.addNode({
      ...{ opType, domain, overload, name, attributes, metadata },
      inputs: node.inputs.map((value) => value && copyOf(value)),
      captures: node.captures.map(copyOf),
      outputs: node.outputs.map((value) => value?.name ?? null),
    });
    node.outputs.forEach((value, i) => {
      const output = copy.outputs[i];
      if (value && output) copies.set(value, Object.assign(output, { type: value.type, shape: value.shape }));
    });
  }
  for (const output of outputs) graph.addOutput(copyOf(output));
  return graph;
}

/** A constant, or else an input, of the name of a value. */
function added(graph: Graph, value: Value): Value {
  if (value.initializer) return graph.addInitializer(value.initializer);
  const { name, type, shape }: Typed = typed(value);
  return graph.addInput(name, type, shape);
}
