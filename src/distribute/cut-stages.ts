import { stepPrefix } from "../analysis/block-nodes.ts";
import { Emit } from "../graph/emit.ts";
import { shardsDomain, shardsOp, type Typed, typed } from "../graph/emit-base.ts";
import { Graph } from "../graph/graph.ts";
import { modelOf } from "../graph/model-graph.ts";
import type { Node, Value } from "../graph/node.ts";
import type { Model, ModelSource } from "../onnx/model.ts";
import { byteLengthOf } from "../onnx/tensor.ts";
import type { Reduction, Stage as StageOfContract } from "./contract.ts";

/** A part of a gradient graph, of standard operators: what it reads, computes, and what is reduced behind it. */
export interface Stage extends Omit<StageOfContract, "file"> {
  readonly model: Model;
}

/**
 * Cuts a graph where it needs sums or means over the shards of the batch (`overShards`): what can be computed
 * before the first of them is the first stage, what needs one of them but none behind it the second, and so on. Every sum and
 * mean is taken as early as it can be, so there are as few stages as possible. Of every output of the graph the mean is taken.
 * @param source - where large weights are that stay in files
 */
export function cutStages(graph: Graph, source: ModelSource): Stage[] {
  setApart(graph);
  const order = graph.sorted();
  const levels = levelsOf(order);
  sink(graph, order, levels);
  const computing = order.filter((node) => !isReduction(node));
  const used = new Set(computing.flatMap((node) => levels.get(node) ?? []));
  return [...used]
    .sort((a, b) => a - b)
    .map((level): Stage => {
      const nodes = computing.filter((node) => levels.get(node) === level);
      const reductions = order.filter((node) => isReduction(node) && levels.get(node) === level);
      const isNeeded = (value: Value) =>
        graph.outputs.includes(value) ||
        [...value.uses].some(({ node }) => isReduction(node) || levels.get(node) !== level);
      const outputs = nodes
        .flatMap((node) => node.outputs.filter((value) => value !== null))
        .filter(isNeeded);
      const stage = stageGraph(graph, nodes, outputs);
      return {
        model: modelOf(stage, source),
        inputs: stage.inputs.map(({ name }) => name),
        outputs: stage.outputs.map(({ name }) => name),
        reduce: [
          ...reductions.map(reductionOf),
          ...outputs.flatMap((value): Reduction[] =>
            graph.outputs.includes(value) ? [{ name: value.name, op: "mean" }] : [],
          ),
        ],
      };
    });
}

const reductionOf = (node: Node): Reduction => {
  const [from, to] = [node.inputs[0] as Value, node.outputs[0] as Value];
  return { name: from.name, op: node.string("reduce", "sum") as Reduction["op"], as: to.name };
};

/**
 * Gives each reduction a value of its own, so that the program that runs the stages can replace it by the sum while other nodes read the shard's own
 * value.
 */
function setApart(graph: Graph): void {
  const emit = new Emit(graph, { prefix: stepPrefix });
  for (const node of graph.nodes.filter(isReduction)) {
    const [value] = node.inputs;
    if (value && (value.uses.size > 1 || graph.outputs.includes(value))) {
      graph.setInput({ node, index: 0 }, emit.identity(value));
    }
  }
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

/** A graph of some nodes of another, under the same names. Values of other stages that are bfloat16, which NumPy lacks, come and go as float32. */
function stageGraph(whole: Graph, nodes: readonly Node[], outputs: readonly Value[]): Graph {
  const opsets = new Map([...whole.opsets].filter(([domain]) => domain !== shardsDomain));
  const graph = new Graph(whole.name, opsets);
  graph.functions.push(...whole.functions);
  const emit = new Emit(graph, { prefix: "stage/" });
  const own = new Set(nodes);
  const copies = new Map<Value, Value>();
  const copyOf = (value: Value): Value => {
    const known = copies.get(value);
    if (known) return known;
    const { name, initializer } = value;
    const copy = initializer ? graph.addInitializer(initializer) : inputOf(typed(value));
    copies.set(value, copy);
    return copy;
    function inputOf({ type, shape, producer }: Typed): Value {
      if (type !== "bfloat16" || !producer) return graph.addInput(name, type, shape);
      return emit.cast(graph.addInput(handedOn(value), "float", shape), type);
    }
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
  for (const output of outputs) {
    const copy = copyOf(output);
    if (output.type !== "bfloat16") graph.addOutput(copy);
    else {
      const wide = emit.cast(copy, "float");
      graph.rename(wide, handedOn(output));
      graph.addOutput(wide);
    }
  }
  return graph;
}

/** The name under which a bfloat16 value goes from stage to stage. */
const handedOn = ({ name }: Value): string => `${name}.float32`;
