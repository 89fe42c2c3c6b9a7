import type { Emit } from "../../graph/emit.ts";
import { typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node } from "../../graph/node.ts";
import { changes, definePass } from "../pass.ts";

/**
 * Computes the second output of SimplifiedLayerNormalization from its input: WebGPU puts other numbers there.
 *
 *     y, d = SimplifiedLayerNormalization(x, w)  →  y = SimplifiedLayerNormalization(x, w); d = 1/√(mean x² + ε)
 */
export const deviationApart = definePass({
  name: "deviation-apart",
  options: {},
  run(graph, _options, { emit }) {
    const nodes = graph.nodes.filter(
      ({ op, outputs }) => op === "SimplifiedLayerNormalization" && outputs[1],
    );
    for (const node of nodes) ownDeviation(graph, emit, node);
    return changes(nodes.length, "node", "no SimplifiedLayerNormalization has a second output");
  },
});

function ownDeviation(graph: Graph, g: Emit, node: Node): void {
  const [, deviation] = node.outputs;
  const x = node.inputs[0] && typed(node.inputs[0]);
  if (!x || !deviation) return;
  const rank = x.shape.length;
  const first = node.int("axis", -1);
  const start = first < 0 ? first + rank : first;
  const axes = Array.from({ length: rank - start }, (_, i) => start + i);
  const square = g.reduceMean(g.mul(x, x), axes);
  const root = g.sqrt(g.add(square, g.scalar(node.float("epsilon", 1e-5), x.type)));
  graph.replaceUses(deviation, g.reshape(g.reciprocal(root), typed(deviation).shape), { outputs: true });
  graph.dropNodeOutputs(node, 1);
}
