import type { Emit } from "../../graph/emit.ts";
import { typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node } from "../../graph/node.ts";
import { replaceNode } from "../../graph/replace-node.ts";
import { dimAt } from "../../graph/shapes.ts";
import { changes, definePass } from "../pass.ts";
import { type SlicePart, slicePartsOf } from "./slice-parts.ts";

/**
 * Cuts and turns in two steps where a Slice runs backwards: WebGPU's kernel then counts from the end of the axis, wherever the
 * slice begins.
 *
 *     Slice(x, 2, -6, 0, -2), x [5]  →  Slice(Slice(x, 0, 3, 0, 2), -1, -3, 0, -1)
 */
export const sliceThenTurn = definePass({
  name: "slice-then-turn",
  options: {},
  run(graph, _options, { emit }) {
    const found = graph.nodes.flatMap((node) => backwardParts(node) ?? []);
    for (const { node, parts } of found) rewrite(graph, emit, node, parts);
    return changes(found.length, "slice", "no Slice runs backwards from another element than the last one");
  },
});

/** The parts of a Slice with a backward one that WebGPU takes from elsewhere. */
function backwardParts(node: Node): { node: Node; parts: SlicePart[] } | undefined {
  const [shape, sliced] = [node.inputs[0]?.shape, node.outputs[0]?.shape];
  const parts = node.op === "Slice" ? slicePartsOf(node) : undefined;
  if (!parts || !shape || !sliced || sliced.includes(0)) return undefined;
  const wrong = parts.some(
    ({ axis, lowest, length, step, turned }) =>
      turned && lowest + (length - 1) * step !== dimAt(shape, axis) - 1,
  );
  return wrong ? { node, parts } : undefined;
}

function rewrite(graph: Graph, g: Emit, node: Node, parts: readonly SlicePart[]): void {
  const [x] = node.inputs;
  if (!x) return;
  const cut = g.slice(
    typed(x),
    parts.map(({ axis, lowest, length, step }) => ({ axis, start: lowest, length, step })),
  );
  const turned = parts.filter((part) => part.turned);
  const each = (number: (part: SlicePart) => number) => g.int64s(turned.map(number));
  const value = g.op(
    "Slice",
    [cut, each(() => -1), each(({ length }) => -length - 1), each(({ axis }) => axis), each(() => -1)],
    cut.shape,
  );
  replaceNode(graph, node, [value]);
}
