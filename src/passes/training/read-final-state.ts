import type { Emit } from "../../graph/emit.ts";
import { typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { isRead } from "../../graph/reach.ts";
import { dimAt, normalizeAxis } from "../../graph/shapes.ts";
import { changes, definePass } from "../pass.ts";

/**
 * Reads the state after the last step where a recurrent node holds it by itself, not among those of all steps: the gradient
 * of that one state then has no zeros for the other steps. For one direction and sequences of one length.
 *
 *     Y = LSTM(x, …), h = Gather(Y, T − 1)  →  _, Y_h = LSTM(x, …), h = Reshape(Y_h)
 */
export const readFinalState = definePass({
  name: "read-final-state",
  options: {},
  run(graph, _options, { emit }) {
    const found = graph.nodes.flatMap((node) => readersOfLast(node).map((reader) => ({ node, reader })));
    for (const { node, reader } of found) readState(graph, emit, node, reader);
    return changes(found.length, "last state", "nothing reads only the last step of a recurrent node");
  },
});

/** What reads the last step of a recurrent node's first output, [steps, 1, batch, units], and nothing else of it. */
function readersOfLast(node: Node): Gathered[] {
  const [y] = node.outputs;
  if (!["LSTM", "GRU", "RNN"].includes(node.op) || !y?.shape || node.inputs[4]) return [];
  const direction = node.string("direction", "forward");
  if (direction === "bidirectional" || node.int("layout", 0) !== 0) return [];
  const steps = dimAt(y.shape, 0);
  return gathered(y, [0, 1, 2, 3], direction === "reverse" ? 0 : steps - 1);
}

/** A Gather of one step, and which axes of the recurrent output its result has, in order. */
interface Gathered {
  readonly gather: Node;
  readonly axes: readonly number[];
}

/** @param axes - which axes of the recurrent output the value has, in order; 0 is that of the steps */
function gathered(value: Value, axes: readonly number[], step: number): Gathered[] {
  return [...value.uses].flatMap(({ node, index }): Gathered[] => {
    const [y] = node.outputs;
    if (index !== 0 || !y) return [];
    if (node.op === "Transpose") {
      const order = node.ints("perm") ?? axes.map((_, i) => axes.length - 1 - i);
      return gathered(
        y,
        order.map((axis) => axes[axis] as number),
        step,
      );
    }
    if (node.op !== "Squeeze" && node.op !== "Gather") return [];
    const constants = node.inputs[1]?.initializer;
    if (!constants) return [];
    const numbers = [...constants.numbers()].map(Number);
    if (node.op === "Squeeze") {
      const gone = numbers.map((axis) => normalizeAxis(axis, axes.length));
      const rest = axes.filter((_, axis) => !gone.includes(axis));
      return rest.includes(0) ? gathered(y, rest, step) : [];
    }
    const axis = normalizeAxis(node.int("axis", 0), axes.length);
    if (axes[axis] !== 0 || constants.dims.length > 0) return [];
    const [at = 0] = numbers;
    const steps = dimAt(value.shape ?? [], axis);
    return (at < 0 ? at + steps : at) === step
      ? [{ gather: node, axes: axes.filter((one) => one !== 0) }]
      : [];
  });
}

/** Lets the readers of a Gather read the state [1, batch, units] with the axes in their order. */
function readState(graph: Graph, emit: Emit, node: Node, { gather, axes }: Gathered): void {
  const [y] = node.outputs;
  const [read] = gather.outputs;
  if (!y?.shape || !read?.shape) return;
  const state = node.outputs[1] ?? graph.addNodeOutput(node, 1, `${y.name}.last`);
  state.type ??= y.type;
  state.shape ??= y.shape.slice(1);
  const order = [1, 2, 3].filter((axis) => !axes.includes(axis)).concat(axes);
  const turned = emit.transpose(
    typed(state),
    order.map((axis) => axis - 1),
  );
  graph.replaceUses(read, emit.reshape(turned, read.shape), { outputs: false });
  if (!isRead(graph, read)) graph.removeNodes(new Set([gather]));
}
