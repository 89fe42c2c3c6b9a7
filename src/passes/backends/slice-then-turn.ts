import { constantTensor } from "../../analysis/probe-model.ts";
import type { Emit } from "../../graph/emit.ts";
import { typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node } from "../../graph/node.ts";
import { replaceNode } from "../../graph/replace-node.ts";
import { dimAt } from "../../graph/shapes.ts";
import { changes, definePass } from "../pass.ts";

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

/** What a Slice takes of an axis: every `step`-th of the elements from `lowest` on; turned if it runs backwards. */
interface Part {
  readonly axis: number;
  readonly lowest: number;
  readonly length: number;
  readonly step: number;
  readonly turned: boolean;
}

/** The parts of a Slice with a backward one that WebGPU takes from elsewhere. */
function backwardParts(node: Node): { node: Node; parts: Part[] } | undefined {
  if (node.op !== "Slice") return undefined;
  const [shape, sliced] = [node.inputs[0]?.shape, node.outputs[0]?.shape];
  const [starts, , axes, steps] = node.inputs.slice(1).map((input) => constantTensor(input)?.numbers());
  if (!shape || !sliced || !starts || !steps || (node.inputs[3] && !axes)) return undefined;
  const parts = starts.map((start, i): Part => {
    const given = axes?.[i] ?? i;
    const axis = given < 0 ? given + shape.length : given;
    const [dim, length, step] = [dimAt(shape, axis), dimAt(sliced, axis), dimAt(steps, i)];
    const from = start < 0 ? start + dim : start;
    const first = Math.max(0, Math.min(from, step < 0 ? dim - 1 : dim));
    const lowest = step < 0 ? first + (length - 1) * step : first;
    return { axis, lowest, length, step: Math.abs(step), turned: step < 0 };
  });
  const wrong = parts.some(
    ({ axis, lowest, length, step, turned }) =>
      turned && length > 0 && lowest + (length - 1) * step !== dimAt(shape, axis) - 1,
  );
  return wrong && !sliced.includes(0) ? { node, parts } : undefined;
}

function rewrite(graph: Graph, g: Emit, node: Node, parts: readonly Part[]): void {
  const [x] = node.inputs;
  if (!x) return;
  const cut = g.slice(
    typed(x),
    parts.map(({ axis, lowest, length, step }) => ({ axis, start: lowest, length, step })),
  );
  const turned = parts.filter((part) => part.turned);
  const each = (number: (part: Part) => number) => g.int64s(turned.map(number));
  const value = g.op(
    "Slice",
    [cut, each(() => -1), each(({ length }) => -length - 1), each(({ axis }) => axis), each(() => -1)],
    cut.shape,
  );
  replaceNode(graph, node, [value]);
}
