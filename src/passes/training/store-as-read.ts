import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { allAxes, type Shape, sameShape } from "../../graph/shapes.ts";
import { changed, counted, defineGraphPass, unchanged } from "../pass.ts";

/** The order in which a step holds the numbers of a tensor that the model holds in another one. */
export interface StateLayout {
  /** The tensor's shape in the model. */
  readonly shape: Shape;
  /** Lengths of the axes into which the model's numbers are cut, mostly those of the shape. */
  readonly axes: Shape;
  /** The order in which these axes stand in the step. */
  readonly permutation: readonly number[];
}

/**
 * Feeds weights in the form in which they are read: if every reader of an input reorders it in the same way first, the input has
 * the reordered form from now on. No step then reorders the weight, nor its gradient.
 *
 *     y = MatMul(x, Transpose(w))  →  y = MatMul(x, w)
 *
 * @returns the new order of each such input
 */
export const storeAsRead = defineGraphPass({
  name: "store-as-read",
  options: {
    /** The inputs that may get another form. */
    weights: [] as readonly Value[],
    /** Values at which a gradient enters: they keep their form. */
    seeded: new Set() as ReadonlySet<Value>,
  },
  run(graph, { weights, seeded }) {
    const layouts = new Map<Value, StateLayout>();
    for (const weight of weights) {
      const reading = readingOf(graph, typed(weight), seeded);
      if (!reading) continue;
      layouts.set(weight, reading.layout);
      weight.shape = reading.shape;
      weight.declared = reading.shape;
      for (const node of reading.last) becomeIdentity(graph, node, weight);
    }
    return layouts.size > 0
      ? changed(`${counted(layouts.size, "weight")} in the form that is read`, layouts)
      : unchanged("no weight is reordered by all its readers alike", layouts);
  },
});

/** Makes a node return the weight itself, for what still refers to its output: the gradient of a penalty, for instance. */
function becomeIdentity(graph: Graph, node: Node, weight: Value): void {
  const [form] = node.outputs;
  if (form) graph.replaceUses(form, weight);
  graph.dropNodeInputs(node, 1);
  graph.setInput({ node, index: 0 }, weight);
  node.opType = "Identity";
  node.attributes.clear();
}

/** How all readers of a weight reorder it. */
interface Reading {
  readonly layout: StateLayout;
  /** The shape of the reordered weight. */
  readonly shape: Shape;
  /** The nodes that compute it, each from the weight or from a node that nothing else reads. */
  readonly last: readonly Node[];
}

/** Follows Reshape and Transpose nodes from a weight for as long as all readers do the same; undefined if none transposes. */
function readingOf(graph: Graph, weight: Typed, seeded: ReadonlySet<Value>): Reading | undefined {
  let forms: readonly Value[] = [weight];
  let [shape, axes] = [weight.shape, weight.shape];
  let permutation: readonly number[] | undefined;
  let last: readonly Node[] = [];
  while (!forms.some((form) => seeded.has(form))) {
    const readers = readersAlike(graph, forms);
    const [first] = readers ?? [];
    const next = first?.outputs[0]?.shape;
    if (!readers || !first || !next || (permutation && first.op === "Transpose")) break;
    if (first.op === "Transpose") {
      axes = shape;
      permutation = permutationOf(first, shape.length);
    }
    shape = next;
    last = readers;
    forms = readers.flatMap(({ outputs }) => outputs[0] ?? []);
  }
  return permutation && { layout: { shape: weight.shape, axes, permutation }, shape, last };
}

/** The nodes that read some values, if they all permute the axes, or all change the shape, in the same way. */
function readersAlike(graph: Graph, forms: readonly Value[]): readonly Node[] | undefined {
  if (forms.some((form) => graph.outputs.includes(form))) return undefined;
  const uses = forms.flatMap((form) => [...form.uses]);
  const [first] = uses;
  if (!first) return undefined;
  const { op, outputs } = first.node;
  if (op !== "Transpose" && op !== "Reshape") return undefined;
  const rank = forms[0]?.shape?.length ?? 0;
  const permutation = `${permutationOf(first.node, rank)}`;
  const alike = uses.every(
    ({ node, index }) =>
      node.op === op &&
      index === 0 &&
      sameShape(node.outputs[0]?.shape ?? [], outputs[0]?.shape ?? []) &&
      (op === "Reshape" || `${permutationOf(node, rank)}` === permutation),
  );
  return alike ? uses.map(({ node }) => node) : undefined;
}

/** The permutation of a Transpose node; without the attribute the axes are reversed. */
const permutationOf = (node: Node, rank: number): readonly number[] =>
  node.ints("perm") ?? allAxes(rank).reverse();
