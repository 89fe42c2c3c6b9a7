import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { normalizeAxis } from "../../graph/shapes.ts";
import { changed, counted, definePass, unchanged } from "../pass.ts";

/**
 * Joins a Split whose parts are split again along the same axis: each round copies the whole tensor. Gradients of recurrent
 * operators split in rounds of seven, because a WebGPU node may use only eight buffers; other backends know no such limit.
 *
 *     a, b = Split(x); c, d = Split(a); e, f = Split(b)  →  c, d, e, f = Split(x)
 */
export const joinSplits = definePass({
  name: "join-splits",
  options: {},
  run(graph, _options, { emit }) {
    const splits = graph.nodes.filter(({ op }) => op === "Split");
    const roots = splits.filter((node) => !splitAgain(graph, node.inputs[0]));
    const joined = roots.map((node) => joinedNodes(graph, emit, node)).filter((nodes) => nodes.length > 0);
    graph.removeNodes(new Set(joined.flat()));
    return joined.length > 0
      ? changed(`${counted(joined.flat().length, "Split node")} to ${joined.length}`)
      : unchanged("no part of a Split is split again");
  },
});

/** Writes one Split in place of a Split and those of its parts. @returns the replaced nodes; none if no part is split again */
function joinedNodes(graph: Graph, g: Emit, root: Node): Node[] {
  const nodes: Node[] = [];
  const leaves = (node: Node): Typed[] => {
    nodes.push(node);
    return node.outputs.flatMap((part) => {
      if (!part) return [];
      const again = splitAgain(graph, part);
      return again ? leaves(again) : [typed(part)];
    });
  };
  const parts = leaves(root);
  const [x] = root.inputs;
  if (nodes.length === 1 || !x) return [];
  const axis = axisOf(root);
  const lengths = g.int64s(parts.map(({ shape }) => shape[axis] ?? 0));
  const { axis: attribute } = Object.fromEntries(root.attributes);
  const results = g.multi("Split", [x, lengths], parts, attribute ? { attributes: { axis: attribute } } : {});
  for (const [i, part] of parts.entries()) graph.replaceUses(part, results[i] as Typed);
  return nodes;
}

/** The Split that alone reads a part of another Split, along the same axis; no part may be a graph output. */
function splitAgain(graph: Graph, part: Value | null | undefined): Node | undefined {
  const first = part?.producer;
  const [use, ...others] = part?.uses ?? [];
  if (first?.op !== "Split" || !use || others.length > 0 || use.node.op !== "Split") return undefined;
  const free = [part, ...first.outputs, ...use.node.outputs].every(
    (value) => value?.shape && !graph.outputs.includes(value),
  );
  return free && axisOf(use.node) === axisOf(first) ? use.node : undefined;
}

const axisOf = (node: Node): number =>
  normalizeAxis(node.int("axis", 0), typed(node.inputs[0] as Value).shape.length);
