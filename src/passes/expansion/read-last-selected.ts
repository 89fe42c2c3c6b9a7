import { constantTensor } from "../../analysis/probe-model.ts";
import { int } from "../../graph/attribute.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { replaceNode } from "../../graph/replace-node.ts";
import { Tensor } from "../../onnx/tensor.ts";
import { changes, defineGraphPass } from "../pass.ts";

/**
 * Reads the last (or first) of the vectors that a mask selects in each sequence by a product with 0 and 1, whose shapes do not depend on
 * the data. Classifiers on encoders and decoders read the last end-of-text token so (BART, T5): with as many tokens selected in every
 * sequence, as the original Reshape needs, the numbers are the same. x: [batch, tokens, width], mask: [batch, tokens].
 *
 *     y = Gather(Reshape(GatherND(x, Transpose(NonZero(mask))), [batch, -1, width]), -1) {axis=1}
 *     →  m = CastLike(mask, x); y = Squeeze(MatMul(Unsqueeze(m · (CumSum(m) {exclusive, reverse} = 0)), x))
 */
export const readLastSelected = defineGraphPass({
  name: "read-last-selected",
  options: {},
  run(graph) {
    const found = graph.nodes.flatMap((node) => selectionOf(node) ?? []);
    for (const selection of found) readOne(graph, selection);
    return changes(found.length, "selection", "no Gather reads the last of what a mask selects");
  },
});

interface Selection {
  readonly gather: Node;
  readonly result: Value;
  readonly x: Value;
  readonly mask: Value;
  readonly last: boolean;
}

const maker = (value: Value | null | undefined, op: string): Node | undefined =>
  value?.producer?.op === op ? value.producer : undefined;

/** What a Gather reads of a selection; undefined for any other node. */
function selectionOf(gather: Node): Selection | undefined {
  const [result] = gather.outputs;
  const index = constantTensor(gather.inputs[1]);
  if (gather.op !== "Gather" || !result || gather.int("axis", 0) !== 1 || index?.dims.length !== 0)
    return undefined;
  const [at] = index.numbers();
  const reshape = maker(gather.inputs[0], "Reshape");
  const selected = maker(reshape?.inputs[0], "GatherND");
  const turned = maker(selected?.inputs[1], "Transpose");
  const mask = maker(turned?.inputs[0], "NonZero")?.inputs[0];
  const x = selected?.inputs[0];
  if (!x || !mask || selected.int("batch_dims", 0) !== 0 || !keepsBatch(reshape?.inputs[1])) return undefined;
  return at === -1 || at === 0 ? { gather, result, x, mask, last: at === -1 } : undefined;
}

/** Whether a shape is [batch, -1, width]. */
function keepsBatch(shape: Value | null | undefined): boolean {
  const stored = constantTensor(shape)?.numbers();
  if (stored) return stored.length === 3 && stored[1] === -1;
  const parts = maker(shape, "Concat")?.inputs ?? [];
  return parts.length === 3 && constantTensor(parts[1])?.numbers().join() === "-1";
}

function readOne(graph: Graph, { gather, result, x, mask, last }: Selection): void {
  const op = (opType: string, inputs: Value[], attributes: Record<string, number> = {}): Value => {
    const name = graph.freshName(`${result.name}.${opType.toLowerCase()}`);
    const entries = Object.entries(attributes).map(([key, value]) => [key, int(value)] as const);
    const node = graph.addNode({ opType, name, attributes: new Map(entries), inputs, outputs: [name] });
    return node.outputs[0] as Value;
  };
  const axis = (value: number) =>
    graph.addInitializer(Tensor.int64(graph.freshName(`${result.name}.axis`), [1], [value]));
  const chosen = op("CastLike", [mask, x]);
  const others = op("CumSum", [chosen, axis(1)], { exclusive: 1, reverse: last ? 1 : 0 });
  const zero = op("CastLike", [
    graph.addInitializer(Tensor.float(graph.freshName(`${result.name}.zero`), [], [0])),
    x,
  ]);
  const one = op("Mul", [chosen, op("CastLike", [op("Equal", [others, zero]), x])]);
  const row = op("MatMul", [op("Unsqueeze", [one, axis(1)]), x]);
  replaceNode(graph, gather, [op("Squeeze", [row, axis(1)])]);
}
