import type { Emit } from "../../graph/emit.ts";
import { typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { dimAt } from "../../graph/shapes.ts";
import { changed, definePass, unchanged } from "../pass.ts";

/**
 * Fills channels of convolutions up to a multiple of four where WebGPU's kernel would be wrong.
 *
 *     Conv(x, w), 9 channels  →  Conv(x with 12 channels, w with 12), the added ones zero
 */
export const fillChannels = definePass({
  name: "fill-channels",
  options: {},
  run(graph, _options, { emit }) {
    const wrong = graph.nodes.filter((node) => node.op === "Conv" && isMiscomputedConvolution(node));
    for (const node of wrong) padChannels(graph, emit, node);
    return wrong.length > 0
      ? changed(`${wrong.length} convolutions`)
      : unchanged("no convolution has a number of channels that WebGPU's kernel reads in threes");
  },
});

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
    return nodes.length > 0
      ? changed(`${nodes.length} nodes`)
      : unchanged("no SimplifiedLayerNormalization has a second output");
  },
});

/**
 * The kernel for plain 1-D and 2-D convolutions reads channels in threes when their number divides by three and not by
 * four, and outputs in fours; the result is wrong from the second three on (microsoft/onnxruntime issue 29651).
 */
function isMiscomputedConvolution(node: Node): boolean {
  const shape = node.inputs[1]?.shape;
  if (!shape || shape.length > 4 || node.int("group", 1) !== 1) return false;
  const [outputs, channels] = [dimAt(shape, 0), dimAt(shape, 1)];
  return outputs % 4 === 0 && channels > 3 && channels % 3 === 0 && channels % 4 !== 0;
}

/** Fills channels up to a multiple of four with zeros. */
function padChannels(graph: Graph, g: Emit, node: Node): void {
  const padded = (value: Value) =>
    g.once(`channels of ${value.name} in fours`, () => {
      const tensor = typed(value);
      const shape = [...tensor.shape];
      shape[1] = 4 - (dimAt(shape, 1) % 4);
      return g.concat([tensor, g.filled(0, shape, tensor.type)], 1);
    });
  const [x, w] = node.inputs;
  if (!x || !w) return;
  graph.setInput({ node, index: 0 }, padded(x));
  graph.setInput({ node, index: 1 }, padded(w));
}

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
