import { listed } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import { adapterPrefix } from "./adapter-names.ts";
import { constantTensor } from "./probe-model.ts";
import { traceParameter } from "./trace-parameter.ts";

/** Layers whose weight may lie behind a DequantizeLinear, with the index of that operand; both operands of a product. */
const weightAt: ReadonlyMap<string, readonly number[]> = new Map<string, readonly number[]>([
  ...["MatMul", "Gemm", "Einsum"].map((op) => [op, [0, 1]] as const),
  ...["Conv", "ConvTranspose"].map((op) => [op, [1]] as const),
  ...["Gather", "com.microsoft.GatherBlockQuantized"].map((op) => [op, [0]] as const),
  ...["MatMulInteger", "ConvInteger", "com.microsoft.MatMulNBits"].map((op) => [op, [1]] as const),
  ...["QLinearMatMul", "QLinearConv", "com.microsoft.QGemm", "com.microsoft.QLinearConv"].map(
    (op) => [op, [3]] as const,
  ),
  ...["MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention", "MatMulBnb4"].map(
    (op) => [`com.microsoft.${op}`, [1]] as const,
  ),
]);

/** Layers whose weights are stored as quantized numbers: training leaves these as they are. */
export function quantizedLayers(graph: Graph): Node[] {
  const stored = (operand: Value | null | undefined): boolean => {
    if (!operand) return false;
    const tensor = constantTensor(operand);
    return tensor ? !isFloat(tensor.type) : traceParameter(graph, operand)?.quantized === true;
  };
  return graph.nodes.filter(
    ({ op, name, inputs }) =>
      !name.startsWith(adapterPrefix) && weightAt.get(op)?.some((index) => stored(inputs[index])),
  );
}

/** Says that layers from {@link quantizedLayers} stay as they are. */
export const frozenLayers = (layers: readonly Node[]): string =>
  `its quantized layers stay frozen (${listed(layers.map(({ label }) => label))})`;

/** Says which layers stay as they are because their weights are quantized; undefined without one. */
export function frozenText(graph: Graph): string | undefined {
  const layers = quantizedLayers(graph);
  return layers.length > 0 ? frozenLayers(layers) : undefined;
}

/** Whether a graph rounds activations to a few levels, and not only weights. */
export const roundsActivations = ({ nodes }: Graph): boolean =>
  nodes.some(({ opType }) =>
    /^(QuantizeLinear|DynamicQuantizeLinear|MatMulInteger|ConvInteger|QLinear\w+|QGemm)$/.test(opType),
  );
