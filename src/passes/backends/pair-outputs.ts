import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node } from "../../graph/node.ts";
import { dimAt } from "../../graph/shapes.ts";
import { changes, definePass } from "../pass.ts";

/**
 * Gives each group of a transposed convolution a second output channel, of zeros, where WebGPU's kernel would be wrong.
 *
 *     ConvTranspose(x, w) {group: G}, w [C, 1, …]  →  every second channel of ConvTranspose(x, w with [C, 2, …])
 */
export const pairOutputs = definePass({
  name: "pair-outputs",
  options: {},
  run(graph, _options, { emit }) {
    const wrong = graph.nodes.filter((node) => node.op === "ConvTranspose" && isMiscomputed(node));
    for (const node of wrong) pairChannels(graph, emit, node);
    return changes(wrong.length, "convolution", "no group reads an even number of channels and writes one");
  },
});

/** The kernel reads channels of a group in twos or fours, and then takes the weights of other ones where a group has one output. */
function isMiscomputed(node: Node): boolean {
  const group = node.int("group", 1);
  const shape = node.inputs[1]?.shape;
  return shape !== undefined && group > 1 && shape[1] === 1 && (dimAt(shape, 0) / group) % 2 === 0;
}

function pairChannels(graph: Graph, g: Emit, node: Node): void {
  const [y] = node.outputs;
  const [x, w, bias] = node.inputs.map((input) => input && typed(input));
  if (!x || !w || !y) return;
  const zeros = (like: Typed) => g.filled(0, like.shape, like.type);
  const paired = g.concat([w, zeros(w)], 1);
  const groups = node.int("group", 1);
  const column = bias && g.reshape(bias, [groups, 1]);
  const pairs = column && g.reshape(g.concat([column, zeros(column)], 1), [2 * groups]);
  const { shape } = typed(y);
  const whole = g.op(
    "ConvTranspose",
    [x, paired, ...(pairs ? [pairs] : [])],
    shape.map((dim, axis) => (axis === 1 ? 2 * dim : dim)),
    { attributes: Object.fromEntries(node.attributes) },
  );
  const value = g.slice(whole, [{ axis: 1, start: 0, length: groups, step: 2 }]);
  graph.replaceUses(y, value, { outputs: true });
  graph.removeNodes(new Set([node]));
  graph.rename(value, y.name);
}
