import type { Graph } from "../graph/graph.ts";
import type { Node } from "../graph/node.ts";
import { traceParameter } from "./trace-parameter.ts";

const recurrent =
  "recurrent: its gates are computed inside of it, so that nothing outside can read their responses; write the cell as Linear layers and export it again";
const quantized =
  "quantized: its weight stays frozen and takes neither penalties nor adapters; take the model as it was before it was quantized";
const packed =
  "quantized: its weight stays frozen and takes no penalty; --lora trains beside it, or inject into the model before it is quantized";
const fusedActivation = (node: Node): string => {
  const activation = node.string("activation", "");
  return `fused${activation ? ` with ${activation}` : ""} by ONNX Runtime's optimizer, so that its response before the activation is not in the file; take the model as it was before, or save it with the optimization level "basic"`;
};
const fusedTranspose =
  'fused with a Transpose by ONNX Runtime\'s optimizer; take the model as it was before, or save it with the optimization level "basic"';
const attention =
  "attention with the projections inside, whose responses nothing outside can read; take the model as it was before ONNX Runtime's optimizer fused it";
const attributes =
  "its weights are attributes of the operator, which no training reaches; write it as Gemm (or a Linear layer) to train it";
const trees = "trees, which no gradient trains; a Gemm (or a Linear layer) beside them can be trained";

/** Operators that hold weights but take no penalty, with the reason and what the user can do. */
const reasons: Readonly<Record<string, string | ((node: Node) => string)>> = {
  ...{ LSTM: recurrent, GRU: recurrent, RNN: recurrent },
  ...{ MatMulInteger: quantized, ConvInteger: quantized, QLinearMatMul: quantized, QLinearConv: quantized },
  DeformConv: "a deformable convolution: penalties take plain ones",
  "com.microsoft.FusedConv": fusedActivation,
  "com.microsoft.FusedGemm": fusedActivation,
  "com.microsoft.NhwcFusedConv": fusedActivation,
  ...{ "com.microsoft.FusedMatMul": fusedTranspose, "com.microsoft.TransposeMatMul": fusedTranspose },
  "com.microsoft.FusedMatMulActivation": fusedActivation,
  "com.microsoft.GemmFastGelu": fusedActivation,
  "com.microsoft.nhwc.Conv": fusedActivation,
  ...Object.fromEntries(
    [
      ...["QGemm", "QLinearConv", "QLinearMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"],
      ...["DynamicQuantizeLSTM", "MatMulBnb4", "MatMulFpQ4", "GemmFloat8", "QMoE", "QAttention"],
      ...["QOrderedMatMul", "QOrderedAttention"],
    ].map((name) => [`com.microsoft.${name}`, quantized]),
  ),
  ...Object.fromEntries(
    ["Attention", "DecoderAttention", "LongformerAttention", "PackedAttention"].map((name) => [
      `com.microsoft.${name}`,
      attention,
    ]),
  ),
  "com.microsoft.MatMulNBits": packed,
  "com.microsoft.AttnLSTM": recurrent,
  "com.microsoft.MoE":
    "a mixture of experts with their weights inside, whose responses nothing outside can read",
  ...{ "ai.onnx.ml.LinearClassifier": attributes, "ai.onnx.ml.LinearRegressor": attributes },
  ...{ "ai.onnx.ml.SVMClassifier": attributes, "ai.onnx.ml.SVMRegressor": attributes },
  ...{ "ai.onnx.ml.TreeEnsembleClassifier": trees, "ai.onnx.ml.TreeEnsembleRegressor": trees },
  "ai.onnx.ml.TreeEnsemble": trees,
};

/** Why an Einsum cannot be written as a layer. */
export const unwritten = new WeakMap<Node, string>();

/** Operators that hold weights but take no penalty. */
export const otherLayerOps: ReadonlySet<string> = new Set([...Object.keys(reasons), "Einsum"]);

/** Why an operator that holds weights takes no penalty; undefined for operators that hold none. */
export function reasonOfOtherLayer(graph: Graph, node: Node): string | undefined {
  if (node.op === "Einsum") {
    if (!node.inputs.some((input) => input && traceParameter(graph, input))) return undefined;
    return unwritten.get(node) ?? "an Einsum: write it as MatMul or a Linear layer";
  }
  const reason = Object.hasOwn(reasons, node.op) ? reasons[node.op] : undefined;
  return typeof reason === "function" ? reason(node) : reason;
}

/** What a message adds where nothing can be trained: the first operator that keeps its weights to itself, and why; or "". */
export function untrainable(graph: Graph): string {
  const node = graph.nodes.find(({ op }) => [attributes, trees].includes(reasons[op] as string));
  return node ? ` (${node.opType} "${node.name}": ${reasons[node.op]})` : "";
}
