import { listed } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node } from "../graph/node.ts";
import { overwrittenText } from "./overwritten-parameters.ts";
import { constantTensor } from "./probe-model.ts";
import { dependingOnData } from "./trace-parameter.ts";
import { isTransposedTimesVector } from "./transposed-times-vector.ts";
import { isUnbiased } from "./unsafe-forms.ts";

/**
 * Says where the user's own sessions of ONNX Runtime would compute something else than the model says, and what to do. Sessions
 * that are opened here avoid these faults (docs/runtime-faults.md).
 */
export function runtimeFaults(graph: Graph): string[] {
  const names = (nodes: readonly Node[]) => listed(nodes.map(({ label }) => label));
  const unbiased = graph.nodes.filter(isUnbiased);
  return [
    ...overwrittenText(graph),
    ...(unbiased.length > 0
      ? [
          `com.microsoft.Attention without a bias (${names(unbiased)}) ends the process of a session of your own, on the CPU: export it with a bias (docs/runtime-faults.md)`,
        ]
      : []),
    ...vectorText(graph),
    ...roundingText(graph),
  ];
}

/** Says which products with a vector come out wrong in the user's own sessions; those of constants alone are folded first. */
function vectorText(graph: Graph): string[] {
  const data = dependingOnData(graph);
  const products = graph.nodes.filter(
    (node) => isTransposedTimesVector(node) && node.inputs.some((input) => input && data.has(input)),
  );
  if (products.length === 0) return [];
  return [
    `a session of your own computes ${listed(products.map(({ label }) => label))} wrongly, on the CPU, with its default options: open it with graphOptimizationLevel "basic", or export v @ x in place of x.mT @ v (docs/runtime-faults.md)`,
  ];
}

/** Says which products round their inputs in the user's own sessions. */
export function roundingText(graph: Graph): string[] {
  const rounding = graph.nodes.filter(roundsInputs).map(({ label }) => label);
  if (rounding.length === 0) return [];
  return [
    `a session of your own rounds the inputs of ${listed(rounding)} to int8, on the CPU, with its default options: open it with extra: { session: { qdq_matmulnbits_accuracy_level: "1" } } (docs/runtime-faults.md)`,
  ];
}

/** Whether ONNX Runtime turns a product with dequantized numbers into one that rounds its other operand. */
function roundsInputs(node: Node): boolean {
  if (node.op !== "MatMul" && node.op !== "Gemm") return false;
  const dequantized = node.inputs[1]?.producer;
  const levels = dequantized?.op === "DequantizeLinear" && constantTensor(dequantized.inputs[0]);
  // Both operands quantized are another product, of integers.
  if (node.inputs[0]?.producer?.op === "DequantizeLinear") return false;
  return !!levels && /^u?int[48]$/.test(levels.type);
}
