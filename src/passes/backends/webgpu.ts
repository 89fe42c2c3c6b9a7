import type { Emit } from "../../graph/emit.ts";
import { typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { dimAt } from "../../graph/shapes.ts";

/**
 * Fills channels of convolutions up to a multiple of four where WebGPU's kernel would be wrong.
 *
 *     Conv(x, w), 9 channels    becomes    Conv(x with 12 channels, w with 12), the added ones zero
 */
export function fillChannels(graph: Graph, g: Emit): void {
  for (const node of [...graph.nodes]) {
    if (node.op === "Conv" && isMiscomputedConvolution(node)) padChannels(graph, g, node);
  }
}

/**
 * Computes the second output of SimplifiedLayerNormalization, 1/√(mean x² + ε), apart: WebGPU puts other numbers there.
 *
 *     y, d = SimplifiedLayerNormalization(x, w)    becomes    y = SimplifiedLayerNormalization(x, w); d = 1/√(mean x² + ε)
 */
export function deviationApart(graph: Graph, g: Emit): void {
  for (const node of [...graph.nodes]) {
    if (node.op === "SimplifiedLayerNormalization" && node.outputs[1]) ownDeviation(graph, g, node);
  }
}

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
