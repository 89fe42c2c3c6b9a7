import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Use, Value } from "../../graph/node.ts";
import type { Shape } from "../../graph/shapes.ts";
import { changed, counted, definePass, unchanged } from "../pass.ts";
import { chooseLayouts } from "./choose-layouts.ts";
import { type LayoutCosts, measuredCosts } from "./costs.ts";
import type { RowForm } from "./row-operators.ts";
import { intoImage, intoRows } from "./rows.ts";

/** A value that was an image [N, C, …space] and is now a matrix with one row for each position of each sample. */
interface ValueOnRows {
  /** [N·…space, C] */
  readonly rows: Typed;
  /** The shape of the image: [N, C, …space]. */
  readonly image: Shape;
}

/** Values that the pass replaced by rows. */
export type ValuesOnRows = ReadonlyMap<Value, ValueOnRows>;

/**
 * Lets convolutions and what lies between them work on rows (NHWC with the batch folded) where that is faster by the measured
 * costs: images of few positions, and kernels of 1×1. Values that the options name and outputs stay images. For a graph with
 * static shapes before it is differentiated, because the gradients of what this pass writes are on rows too.
 *
 *     y = Relu(Conv(x, w))  →  y = image(Relu(Gemm(patches(rows(x)), matrix(w))))
 *
 * with rows(x) = Reshape(Transpose(x)), patches by Pad and Concat, and matrix(w) = Reshape(Transpose(w)).
 * @returns the values that are rows now, by the values that they replace
 */
export const rowsLayout = definePass({
  name: "rows-layout",
  options: {
    /** Names of values that stay, beside the graph's outputs. */
    keep: new Set() as ReadonlySet<string>,
    /** Names of the trained parameters: only what depends on them has a gradient, which costs time too. */
    trained: new Set() as ReadonlySet<string>,
    /** How many channels a block has in ONNX Runtime's layout for depthwise convolutions; 0 where it has none. */
    block: 0,
    /** What nodes and conversions cost in either layout. */
    costs: measuredCosts as LayoutCosts,
  },
  run(graph, { keep, trained, block, costs }, { emit }) {
    const forms = chooseLayouts(graph, { keep, trained, block }, costs);
    const moved = rewrite(graph, emit, forms);
    const products = [...forms.keys()].filter(({ op }) => op === "Conv").length;
    return forms.size > 0
      ? changed<ValuesOnRows>(
          `${counted(forms.size, "node")} on rows, ${products} of them convolutions`,
          moved,
        )
      : unchanged<ValuesOnRows>("no node is faster on rows", moved);
  },
});

function rewrite(graph: Graph, g: Emit, forms: ReadonlyMap<Node, RowForm>): ValuesOnRows {
  const moved = new Map<Value, ValueOnRows>();
  const read = (value: Value): Typed => {
    const known = moved.get(value);
    if (known) return known.rows;
    const image = typed(value);
    return g.once(`rows of ${value.name}`, () => intoRows(g, image));
  };
  const readsRows = ({ node, index }: Use): boolean => forms.get(node)?.inputs.includes(index) ?? false;
  for (const node of graph.sorted()) {
    const form = forms.get(node);
    if (!form) continue;
    const made = form.emit(g, (index) => read(node.inputs[index] as Value));
    node.outputs
      .filter((output) => output !== null)
      .forEach((output, index) => {
        const result = made[index] as Typed;
        if (index > 0 || !form.rows) {
          graph.replaceUses(output, result);
          return;
        }
        const { shape } = typed(output);
        moved.set(output, { rows: result, image: shape });
        const others = [...output.uses].filter((use) => !readsRows(use));
        if (others.length === 0) return;
        const except = new Set([...output.uses].filter(readsRows).map((use) => use.node));
        graph.replaceUses(output, intoImage(g, result, shape), { except });
      });
  }
  graph.removeNodes(new Set(forms.keys()));
  return moved;
}
