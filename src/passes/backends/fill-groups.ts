import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node } from "../../graph/node.ts";
import { replaceNode } from "../../graph/replace-node.ts";
import { dimAt } from "../../graph/shapes.ts";
import { changes, definePass } from "../pass.ts";

/**
 * Gives each group of a convolution further output channels, of zeros, where the error of WebGPU's kernels would be as large as the result.
 *
 *     Conv(x, w) {group: 2}, w [12, C, …]  →  the outputs 0…5 and 8…13 of Conv(x, w with [16, C, …])
 *     ConvTranspose(x, w) {group: G}, w [C, 1, …]  →  every second output of ConvTranspose(x, w with [C, 2, …])
 */
export const fillGroups = definePass({
  name: "fill-groups",
  options: {},
  run(graph, _options, { emit }) {
    const found = graph.nodes.flatMap((node) => {
      const missing = missingOutputs(node);
      return missing > 0 ? [{ node, missing }] : [];
    });
    for (const { node, missing } of found) fill(graph, emit, node, missing);
    return changes(found.length, "convolution", "no group has a number of channels that the kernels mix up");
  },
});

/** How many outputs each group lacks to be computed rightly. */
function missingOutputs(node: Node): number {
  const group = node.int("group", 1);
  const shape = node.inputs[1]?.shape;
  if (!shape || !node.outputs[0]?.shape || group === 1) return 0;
  const each = dimAt(shape, 0) / group;
  // With an even number of groups, four outputs at a time are taken across the border of two groups.
  if (node.op === "Conv") return group % 2 === 0 && each > 4 ? (4 - (each % 4)) % 4 : 0;
  // Channels are read in twos or fours; in a group with one output, the kernel takes the weights of other channels.
  return node.op === "ConvTranspose" && shape[1] === 1 && each % 2 === 0 ? 1 : 0;
}

function fill(graph: Graph, g: Emit, node: Node, missing: number): void {
  const [x, w, bias] = node.inputs.map((input) => input && typed(input));
  const y = node.outputs[0] && typed(node.outputs[0]);
  if (!x || !w || !y) return;
  const group = node.int("group", 1);
  const each = dimAt(y.shape, 1) / group;
  const filled = each + missing;
  /** Zeros behind the outputs of each group, which lie on the first axis. */
  const longer = (value: Typed) => {
    const rest = value.shape.slice(1);
    const zeros = g.filled(0, [group, missing, ...rest], value.type);
    const parts = g.concat([g.reshape(value, [group, each, ...rest]), zeros], 1);
    return g.reshape(parts, [group * filled, ...rest]);
  };
  const withZeros = (value: Typed) =>
    g.concat([value, g.filled(0, [dimAt(value.shape, 0), missing, ...value.shape.slice(2)], value.type)], 1);
  const [samples, , ...image] = y.shape as [number, number, ...number[]];
  const whole = g.op(
    node.op,
    [x, node.op === "Conv" ? longer(w) : withZeros(w), ...(bias ? [longer(bias)] : [])],
    [samples, group * filled, ...image],
    { attributes: Object.fromEntries(node.attributes) },
  );
  const byGroup = g.reshape(whole, [samples, group, filled, ...image]);
  replaceNode(graph, node, [g.reshape(g.slice(byGroup, [{ axis: 2, start: 0, length: each }]), y.shape)]);
}
