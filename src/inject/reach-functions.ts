import { blockPrefix, type NamedNode, namesOf } from "../analysis/block-nodes.ts";
import { drawingOperators } from "../analysis/drawing-operators.ts";
import type { Probe } from "../analysis/probe.ts";
import { constantTensor } from "../analysis/probe-model.ts";
import type { Site } from "../analysis/site-types.ts";
import type { Emit } from "../graph/emit.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { nodesInOrder } from "../graph/order.ts";
import type { Model } from "../onnx/model.ts";
import { writeOutBodies } from "../passes/expansion/expand-bodies.ts";
import { inlineFunctions } from "../passes/expansion/inline-functions.ts";
import { writeOutLayers } from "../passes/expansion/write-out-layers.ts";
import { runGraphPass } from "../passes/pass.ts";
import type { FoundLayers } from "../penalties/assemble.ts";
import { addedTo, weightOf } from "../penalties/layer.ts";

/** A model's graph with its functions and the bodies that always run the same way written out, and what of it stands in the file's own graph. */
interface ReachedGraph {
  readonly graph: Graph;
  /** The file's nodes, in file order, with the names that they have there. */
  readonly own: readonly NamedNode[];
  /** The values that the file's nodes can read. Other values of the graph lie in functions or bodies. */
  readonly outer: ReadonlySet<string>;
}

/**
 * The graph of a model, in which the layers inside its functions can be seen, and those inside bodies that always run the same way
 * (`writeOutBodies`). A function in a newer opset than the model's, or
 * with operators of a domain that the model does not import, is left as a call: a block in the file could not repeat its nodes.
 */
export async function reachFunctions(model: Model, probe: Probe): Promise<ReachedGraph> {
  const graph = graphOf(model);
  const reached = {
    graph,
    own: graph.nodes.map(namesOf),
    outer: new Set([...graph.values].map(({ name }) => name)),
  };
  const before = new Map(graph.opsets);
  runGraphPass(inlineFunctions({ external: model.external }), graph);
  const raised = [...graph.opsets].some(([domain, version]) => before.get(domain) !== version);
  const seen = raised ? graphOf(model) : graph;
  await writeOutBodies(seen, model, probe);
  await writeOutLayers(seen);
  return { ...reached, graph: seen };
}

/** The values of a reached graph that lie in functions or bodies. Call it before a block renames values. */
export const innerValues = ({ values }: Graph, outer: ReadonlySet<string>): ReadonlySet<Value> =>
  new Set([...values].filter(({ name }) => !outer.has(name)));

/** Whether a node draws random numbers: a copy of it draws others. */
const draws = (node: Node): boolean => {
  if (node.domain !== "") return false;
  if (node.opType !== "Dropout") return drawingOperators.has(node.op);
  const training = node.inputs[2];
  return !!training && constantTensor(training)?.numbers()[0] !== 0;
};

/** Takes out the layers inside functions and bodies whose numbers a block cannot compute again, with the reason. */
export function reachableSites({ sites, skipped }: FoundLayers, inner: ReadonlySet<Value>): FoundLayers {
  const reasonOf = (site: Site): string | undefined => {
    if (inner.has(site.weight))
      return "its weight is a constant inside a function or a body of the model, and an injected block could only hold a copy of it: train penalises it";
    const drawn = innerNodes(numbersOf(site), inner).find(draws);
    return drawn
      ? `${drawn.op} "${drawn.label}" in a function or a body draws random numbers, and an injected block, which computes the layer again, would draw others: train penalises it, or export for inference`
      : undefined;
  };
  const reasons = new Map(sites.map((site) => [site, reasonOf(site)]));
  return {
    sites: sites.filter((site) => reasons.get(site) === undefined),
    skipped: [
      ...skipped,
      ...sites.flatMap((site) => {
        const reason = reasons.get(site);
        return reason === undefined ? [] : [{ name: site.name, op: site.op, reason }];
      }),
    ],
  };
}

/** The values of a layer that penalties read. */
export const numbersOf = (site: Site): Value[] =>
  [site.response, weightOf(site), addedTo(site)?.value].flatMap((value) => value ?? []);

/** The nodes inside functions and bodies on which the values depend, back to values of the file's own graph; in topological order. */
function innerNodes(values: readonly Value[], inner: ReadonlySet<Value>): Node[] {
  const found = new Set<Node>();
  const open = values.filter((value) => inner.has(value));
  for (let value = open.pop(); value; value = open.pop()) {
    const { producer } = value;
    if (!producer || found.has(producer)) continue;
    found.add(producer);
    for (const read of [...producer.inputs, ...producer.captures])
      if (read && inner.has(read)) open.push(read);
  }
  return nodesInOrder(found);
}

/**
 * Repeats in a block what it reads from inside functions and bodies, under names of the block, because a node of the file can only read
 * values of the file's own graph.
 *
 *     y = local.Block(x, w) {h = Gemm(x, w); y = Tanh(h)} and a block that reads h  →  sorth/h = Gemm(x, w), read in place of h
 *
 * @param block - the nodes that were emitted for the block; they read the repeated values afterwards
 * @returns the new nodes in topological order, and the value that stands for each one inside a function
 */
export function repeatInner(
  g: Emit,
  block: readonly Node[],
  inner: ReadonlySet<Value>,
): { readonly nodes: readonly Node[]; readonly copies: ReadonlyMap<Value, Value> } {
  const { graph } = g;
  const isInner = (value: Value | null): value is Value => !!value && inner.has(value);
  const read = block.flatMap(({ inputs }) => inputs.filter(isInner));
  const copies = new Map<Value, Value>();
  const copyOf = (value: Value): Value => {
    const known = copies.get(value);
    if (known) return known;
    const copy = value.initializer ? g.tensorConstant(value.initializer) : value;
    copies.set(value, copy);
    return copy;
  };
  const first = graph.nodes.length;
  for (const node of innerNodes(read, inner)) {
    const copy = graph.addNode({
      ...{ opType: node.opType, domain: node.domain, overload: node.overload, attributes: node.attributes },
      name: graph.freshName(`${blockPrefix}${node.label}`),
      inputs: node.inputs.map((value) => (isInner(value) ? copyOf(value) : value)),
      outputs: node.outputs.map((value) => value && graph.freshName(`${blockPrefix}${value.name}`)),
      captures: node.captures,
    });
    const others = new Set(graph.nodes.filter((other) => other !== copy));
    for (const captured of node.captures.filter(isInner))
      graph.replaceUses(captured, copyOf(captured), { except: others });
    node.outputs.forEach((value, index) => {
      const made = copy.outputs[index];
      if (!value || !made) return;
      Object.assign(made, { type: value.type, shape: value.shape, freeAxes: value.freeAxes });
      copies.set(value, made);
    });
  }
  for (const node of block) {
    node.inputs.forEach((value, index) => {
      if (isInner(value)) graph.setInput({ node, index }, copyOf(value));
    });
  }
  return { nodes: graph.nodes.slice(first), copies };
}
