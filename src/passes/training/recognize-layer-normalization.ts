import { float, int } from "../../graph/attribute.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { isRead } from "../../graph/reach.ts";
import { normalizeAxis, sameShape } from "../../graph/shapes.ts";
import { changes, definePass } from "../pass.ts";
import { numberOf, onlyReader, operandBeside } from "./operands.ts";

/**
 * Recognizes a LayerNormalization that exporters write in small operators below opset 17. ONNX Runtime computes the one operator
 * in one kernel, and its rule takes half the passes of the rules of the parts. The nodes that compute the parts stay, without
 * readers.
 *
 *     d = x − ReduceMean(x); y = d/√(ReduceMean(d²) + ε)·scale + bias  →  y = LayerNormalization(x, scale, bias) {axis, epsilon}
 *
 * Scale and bias may be missing. Only for float32, as double's statistics are rounded.
 */
export const recognizeLayerNormalization = definePass({
  name: "recognize-layer-normalization",
  options: {},
  run(graph, _options, { emit }) {
    const found = graph.nodes.flatMap((sqrt) => {
      const candidate = layerNormalization(graph, sqrt);
      return candidate && isRead(graph, candidate.node.outputs[0]) ? [candidate] : [];
    });
    for (const { node, x, axis, epsilon, scale, bias } of found) {
      const size = x.shape?.slice(axis) ?? [];
      const ones = () => emit.numbers(Array<number>(size.reduce((a, b) => a * b, 1)).fill(1), size);
      node.opType = "LayerNormalization";
      node.attributes.clear();
      node.attributes.set("axis", int(axis));
      node.attributes.set("epsilon", float(epsilon));
      graph.dropNodeInputs(node, 0);
      for (const [index, input] of [x, scale ?? ones(), ...(bias ? [bias] : [])].entries()) {
        graph.appendInput(node, index, input);
      }
    }
    return changes(found.length, "LayerNormalization", "no LayerNormalization is written in small operators");
  },
});

interface LayerNormalization {
  /** The last of the nodes that compute it. */
  readonly node: Node;
  readonly x: Value;
  readonly axis: number;
  readonly epsilon: number;
  readonly scale?: Value;
  readonly bias?: Value;
}

/** The LayerNormalization that a Sqrt belongs to. */
function layerNormalization(graph: Graph, sqrt: Node): LayerNormalization | undefined {
  const sum = sqrt.op === "Sqrt" && graph.opset >= 17 ? producerOf(sqrt.inputs[0], "Add") : undefined;
  const unit = onlyReader(sqrt.outputs[0], "Div");
  if (!sum || !unit || unit.inputs[1] !== sqrt.outputs[0]) return undefined;
  const [left, right] = sum.inputs.map((input) => numberOf(input ?? undefined));
  const epsilon = right ?? left;
  const variance = producerOf(sum.inputs[right === undefined ? 1 : 0], "ReduceMean");
  const centred = producerOf(unit.inputs[0], "Sub");
  if (epsilon === undefined || !variance || !centred) return undefined;
  const [x] = centred.inputs;
  const mean = producerOf(centred.inputs[1], "ReduceMean");
  if (x?.type !== "float" || mean?.inputs[0] !== x || !isSquareOf(variance.inputs[0], centred.outputs[0]))
    return undefined;
  const axis = firstAxis(mean);
  if (axis === undefined || firstAxis(variance) !== axis) return undefined;
  const fits = (value: Value | undefined) =>
    value?.type === "float" && value.shape && sameShape(value.shape, x.shape?.slice(axis) ?? []);
  const known = { x, axis, epsilon };
  const product = onlyReader(unit.outputs[0], "Mul");
  const scale = product && operandBeside(product, unit.outputs[0]);
  if (!product || !scale || !fits(scale)) return { node: unit, ...known };
  const shifted = onlyReader(product.outputs[0], "Add");
  const bias = shifted && operandBeside(shifted, product.outputs[0]);
  if (!shifted || !bias || !fits(bias)) return { node: product, ...known, scale };
  return { node: shifted, ...known, scale, bias };
}

const producerOf = (value: Value | null | undefined, op: string): Node | undefined =>
  value?.producer?.op === op ? value.producer : undefined;

/** Whether a value is the square of another, by Pow or by Mul. */
function isSquareOf(value: Value | null | undefined, root: Value | null | undefined): boolean {
  const node = value?.producer;
  if (!node || node.inputs[0] !== root) return false;
  if (node.op === "Mul") return node.inputs[1] === root;
  return node.op === "Pow" && numberOf(node.inputs[1] ?? undefined) === 2;
}

/** The first of the axes of a mean that keeps them, if they are the last axes of its input. */
function firstAxis(mean: Node): number | undefined {
  const [x, axes] = mean.inputs;
  const rank = x?.shape?.length ?? 0;
  const numbers = axes?.initializer?.numbers().map((axis) => normalizeAxis(axis, rank));
  if (!numbers || numbers.length === 0 || mean.int("keepdims", 1) === 0) return undefined;
  const first = Math.min(...numbers);
  return new Set(numbers).size === rank - first ? first : undefined;
}
