import type { Graph } from "../graph/graph.ts";
import type { Node } from "../graph/node.ts";
import type { Reading } from "./readings.ts";

/** Whether a graph has products with weights of a few bits each, which ONNX Runtime may compute with rounded activations. */
export const hasWeightsOfBits = ({ nodes }: Graph): boolean =>
  nodes.some(({ op }) => op === "com.microsoft.MatMulNBits");

/** Names of the operators, of any domain, that work on quantized numbers. */
export const quantized = /[Qq]uant|NBits|Integer|^Q[A-Z]|Bnb4/;

/** Whether a graph has operators on quantized numbers. */
export const hasQuantized = ({ nodes }: Graph): boolean => nodes.some(({ opType }) => quantized.test(opType));

/** Operators that read the scales of quantized numbers, with the index of these and of the zero points behind. */
const scaleAt: ReadonlyMap<string, number> = new Map([
  ...["DequantizeLinear", "QuantizeLinear"].flatMap((op) => [
    [op, 1] as const,
    [`com.microsoft.${op}`, 1] as const,
  ]),
  ...["MatMulNBits", "GatherBlockQuantized", "MatMulBnb4"].map((op) => [`com.microsoft.${op}`, 2] as const),
]);

/** The operator for which a constant is the scale or the zero point of quantized numbers; undefined for other constants. */
export function scales({ use, node, index }: Reading): Node | undefined {
  const at = scaleAt.get(use.node.op);
  if (at !== undefined && (use.index === at || use.index === at + 1)) return use.node;
  // A quantizer of weights alone multiplies their scale by that of the activations.
  const other = node.op === "Mul" ? node.inputs[1 - index]?.producer : undefined;
  return other?.op === "DynamicQuantizeLinear" ? node : undefined;
}
