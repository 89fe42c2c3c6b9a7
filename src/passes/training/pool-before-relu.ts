import type { Graph } from "../../graph/graph.ts";
import type { Node } from "../../graph/node.ts";
import { changes, defineGraphPass } from "../pass.ts";

/**
 * Lets MaxPool run before the Relu that feeds it: max(relu x) = relu(max x), to the bit, and so are the gradients (the
 * first maximum is the same where it is positive, and gets nothing where it is not). The activation, forward and
 * backward, then works only on the pooled values. No change if anything else reads the Relu's output.
 *
 *     y = MaxPool(Relu(x))  →  y = Relu(MaxPool(x))
 */
export const poolBeforeRelu = defineGraphPass({
  name: "pool-before-relu",
  options: {},
  run(graph) {
    const pairs = graph.nodes.flatMap((pool): Pair[] => {
      const relu = pool.op === "MaxPool" ? pool.inputs[0]?.producer : undefined;
      return relu?.op === "Relu" && isOnlyReader(graph, relu) && hasOneOutput(graph, pool)
        ? [{ relu, pool }]
        : [];
    });
    for (const pair of pairs) swap(graph, pair);
    graph.removeNodes(new Set(pairs.flatMap(({ relu, pool }) => [pool, relu])));
    return changes(pairs.length, "pair", "no Relu is read by one MaxPool alone");
  },
});

interface Pair {
  readonly relu: Node;
  readonly pool: Node;
}

function swap(graph: Graph, { relu, pool }: Pair): void {
  const [x, y] = [relu.inputs[0], pool.outputs[0]];
  if (!x || !y) return;
  const { name, attributes, metadata } = pool;
  const pooled = graph.addNode({
    opType: "MaxPool",
    name,
    attributes,
    metadata,
    inputs: [x],
    outputs: [graph.freshName(`${y.name}.pooled`)],
  });
  const activated = graph.addNode({
    opType: "Relu",
    name: relu.name,
    inputs: [pooled.outputs[0] ?? null],
    outputs: [graph.freshName(`${y.name}.activated`)],
  }).outputs[0];
  if (activated) graph.replaceUses(y, activated);
}

const isOnlyReader = (graph: Graph, relu: Node): boolean => {
  const [output] = relu.outputs;
  return output?.uses.size === 1 && !graph.outputs.includes(output);
};

/** Whether a MaxPool has no indices and is no graph output, so that its place and name may change. */
const hasOneOutput = (graph: Graph, pool: Node): boolean => {
  const [output, indices] = pool.outputs;
  return !!output && !indices && !graph.outputs.includes(output);
};
