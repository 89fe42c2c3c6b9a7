import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node } from "../../graph/node.ts";
import { type Shape, sameShape } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { changes, definePass } from "../pass.ts";

/**
 * Gives both operands of Pow one shape, or one of them none: WebGPU's kernel ends in an error where a last axis of 4, 8 …
 * numbers meets one of 1.
 *
 *     Pow(x, e), x [2, 4], e [2, 1]  →  Pow(x, Expand(e, [2, 4]))
 *     Pow(x, e), x [2, 4], e [1, 1]  →  Pow(x, Reshape(e, []))
 */
export const powersAlike = definePass({
  name: "powers-alike",
  options: {},
  run(graph, _options, { emit }) {
    const found = graph.nodes.filter((node) => node.op === "Pow" && broadcastsLastAxis(node));
    for (const node of found) alike(graph, emit, node);
    return changes(found.length, "power", "no Pow broadcasts its last axis");
  },
});

/** The length of the last axis of a tensor that has one. */
const lastOf = (shape: Shape | undefined): number | undefined => shape?.at(-1);

function broadcastsLastAxis({ inputs, outputs }: Node): boolean {
  const [a, b] = inputs.map((input) => input?.shape);
  if (!a || !b || !outputs[0]?.shape || a.length === 0 || b.length === 0) return false;
  // A vector of one number is taken as a scalar.
  return lastOf(a) !== lastOf(b) && !isOne(a) && !isOne(b);
}

const isOne = (shape: Shape): boolean => shape.length === 1 && shape[0] === 1;

function alike(graph: Graph, g: Emit, node: Node): void {
  const shape = typed(node.outputs[0] as Typed).shape;
  for (const [index, input] of node.inputs.entries()) {
    const value = input && typed(input);
    if (!value || sameShape(value.shape, shape)) continue;
    const single = elementCount(value.shape) === 1;
    graph.setInput({ node, index }, single ? g.reshape(value, []) : g.expand(value, shape));
  }
}
