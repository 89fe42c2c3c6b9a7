import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { conversionCost, type LayoutCosts, nodeCosts } from "./costs.ts";
import { depthwiseForm } from "./depthwise.ts";
import { Network } from "./minimum-cut.ts";
import { type RowForm, rowForm } from "./row-operators.ts";

/** What {@link chooseLayouts} must know beside the graph. */
export interface LayoutFacts {
  /** Names of the values that must stay as they are, beside the graph's outputs. */
  readonly keep: ReadonlySet<string>;
  /** Names of the trained parameters: what depends on them has a gradient. */
  readonly trained: ReadonlySet<string>;
  /** How many channels a block has in ONNX Runtime's layout for depthwise convolutions; 0 (default) where it has none. */
  readonly block?: number;
}

/**
 * Decides which nodes work on rows: the choice with the smallest sum of the nodes' costs and of the conversions where the
 * layout changes. That is a minimum cut: each node is on the side of images or on that of rows, and each value that crosses
 * costs one conversion, however many nodes read it.
 */
export function chooseLayouts(
  graph: Graph,
  { keep, trained, block = 0 }: LayoutFacts,
  costs: LayoutCosts,
): Map<Node, RowForm> {
  const order = graph.sorted();
  const fixed = new Set<Value>(graph.outputs);
  const forms = new Map<Node, RowForm>();
  for (const node of order) {
    const stays = node.outputs.some((output) => output && (keep.has(output.name) || fixed.has(output)));
    const form = stays ? undefined : (rowForm(node) ?? depthwiseForm(node, block, trained));
    if (form) forms.set(node, form);
  }
  if (forms.size === 0) return forms;
  const network = new Network();
  const places = new Map([...forms.keys()].map((node) => [node, network.add()] as const));
  /** Nodes without a form on rows are on the source's side. */
  const place = (node: Node | undefined): number => (node && places.get(node)) ?? network.source;
  const active = dependents(order, trained);

  for (const [node, own] of places) {
    const { images, rows } = nodeCosts(node, forms.get(node) as RowForm, active, trained, costs);
    network.connect(network.source, own, rows);
    network.connect(own, network.sink, images);
  }
  const crossing = new Set<Value>();
  for (const [node, form] of forms) {
    for (const index of form.inputs) crossing.add(node.inputs[index] as Value);
    if (form.rows) crossing.add(node.outputs[0] as Value);
  }
  for (const value of crossing) {
    const cost = conversionCost(value.shape ?? [], active.has(value), costs);
    const { producer } = value;
    const from = producer && forms.get(producer)?.rows && producer.outputs[0] === value;
    const writer = from ? place(producer) : network.source;
    const readers = [...value.uses].map(({ node, index }) =>
      forms.get(node)?.inputs.includes(index) ? place(node) : network.source,
    );
    shared(network, writer, readers, cost);
  }
  const cut = network.minimumCut();
  return new Map([...forms].filter(([node]) => cut[place(node)]));
}

/** Adds the costs of a value that is converted once for all its readers in the other layout. */
function shared(network: Network, writer: number, readers: readonly number[], cost: number): void {
  const [intoRows, intoImages] = [network.add(), network.add()];
  network.connect(writer, intoRows, cost);
  network.connect(intoImages, writer, cost);
  for (const reader of readers) {
    network.connect(intoRows, reader, Number.POSITIVE_INFINITY);
    network.connect(reader, intoImages, Number.POSITIVE_INFINITY);
  }
}

/** The values that depend on a parameter. */
function dependents(order: readonly Node[], trained: ReadonlySet<string>): ReadonlySet<Value> {
  const active = new Set<Value>();
  const depends = (value: Value | null): boolean => !!value && (active.has(value) || trained.has(value.name));
  for (const node of order) {
    if (![...node.inputs, ...node.captures].some(depends)) continue;
    for (const output of node.outputs) if (output) active.add(output);
  }
  return active;
}
