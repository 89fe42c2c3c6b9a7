import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { descendantsOf } from "../graph/reach.ts";
import { isFloat } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import { fedInputs } from "./dimensions.ts";
import { drawingOperators } from "./drawing-operators.ts";
import { constantOf, constantTensor } from "./probe-model.ts";

/** A parameter found behind an operand. */
export interface Traced {
  /** The initializer, graph input or Constant's output itself. */
  readonly parameter: Value;
  /** Whether a DequantizeLinear lies in between. */
  readonly quantized: boolean;
}

/** Operators that pass a parameter on: they change only its layout or its type. */
export const passing: ReadonlySet<string> = new Set([
  "Transpose",
  "Identity",
  "Reshape",
  "Cast",
  "DequantizeLinear",
]);

/**
 * Follows an operand through Transpose, Identity, Reshape, Cast and DequantizeLinear (and the QuantizeLinear before it)
 * to an initializer, a Constant, or a graph input that is a parameter; returns nothing if the operand is an activation.
 */
export function traceParameter(graph: Graph, operand: Value): Traced | undefined {
  let value = operand;
  let quantized = false;
  while (value.producer) {
    const { producer } = value;
    if (constantOf(producer)) return { parameter: value, quantized };
    const passes = passing.has(producer.opType) || (quantized && producer.opType === "QuantizeLinear");
    const source = producer.inputs[0];
    if (!passes || producer.domain !== "" || !source) return undefined;
    quantized ||= producer.opType === "DequantizeLinear";
    value = source;
  }
  if (value.initializer) return { parameter: value, quantized };
  return isParameterInput(graph, value) ? { parameter: value, quantized } : undefined;
}

/** Operators through which a computed weight is followed (weight_norm, spectral_norm, LoRA, integers times a scale). */
const computing = new Set([
  ...["Mul", "Div", "Add", "Sub", "Squeeze", "Unsqueeze", "Flatten", "LpNormalization"],
  ...["Transpose", "Identity", "Reshape", "Cast", "DequantizeLinear"],
]);

/**
 * The parameter from which a weight is computed: it has as many numbers as the weight and reaches it through arithmetic and
 * reshaping. Other operands, such as a norm or a scale, are ignored.
 * @param operand - must not depend on data
 */
export function traceComputed(operand: Value): Traced | undefined {
  const size = operand.shape && elementCount(operand.shape);
  if (size === undefined || size < 2) return undefined;
  const seen = new Set<Value>();
  const open = [operand];
  for (let value = open.shift(); value; value = open.shift()) {
    if (seen.has(value)) continue;
    seen.add(value);
    const tensor = constantTensor(value);
    if (tensor) {
      if (tensor.size === size) return { parameter: value, quantized: !isFloat(tensor.type) };
      continue;
    }
    if (value.producer?.domain !== "" || !computing.has(value.producer.opType)) continue;
    for (const input of value.producer.inputs) {
      if (input && (!input.shape || elementCount(input.shape) === size)) open.push(input);
    }
  }
  return undefined;
}

/** Values that differ between runs: everything computed from data or from random numbers. */
export function dependingOnData(graph: Graph): ReadonlySet<Value> {
  const sources = fedInputs(graph).filter((input) => !isParameterInput(graph, input));
  const random = graph.nodes.filter(({ op }) => drawingOperators.has(op));
  return descendantsOf([
    ...sources,
    ...random.flatMap(({ outputs }) => outputs.flatMap((output) => output ?? [])),
  ]);
}

/**
 * Whether a graph input without a default is a parameter rather than data. Files with parameters as inputs (training graphs,
 * exports without weights) list the data first and fix every dimension of a parameter. So these inputs are data: the first
 * one, every one with a free or unknown dimension, and every one with the same first (batch) dimension as the first input,
 * unless its name says weight, kernel, filter or bias.
 */
function isParameterInput(graph: Graph, input: Value): boolean {
  const first = fedInputs(graph)[0];
  const { declared } = input;
  if (!first || input === first) return false;
  if (!declared || declared.length === 0 || !declared.every((dim) => typeof dim === "number")) return false;
  if (/(weight|kernel|filter|bias)/i.test(input.name)) return true;
  return declared[0] !== first.shape?.[0];
}
