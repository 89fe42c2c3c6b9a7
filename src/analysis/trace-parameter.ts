import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { fedInputs } from "./dimensions.ts";
import { constantOf } from "./probe-model.ts";

/** A parameter found behind an operand. */
export interface Traced {
  /** The initializer, graph input or Constant's output itself. */
  readonly parameter: Value;
  /** Whether a DequantizeLinear lies in between. */
  readonly quantized: boolean;
}

/** Operators that pass a parameter on: its numbers, laid out otherwise, or in another type. */
const passing = new Set(["Transpose", "Identity", "Reshape", "Cast", "DequantizeLinear"]);

/**
 * Follows an operand through Transpose, Identity, Reshape, Cast and DequantizeLinear (and the QuantizeLinear before it)
 * to an initializer, a Constant, or a graph input that is a parameter; nothing where it ends in an activation.
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

/**
 * Whether a graph input without a default is a parameter rather than data. Files that take their parameters as inputs
 * (training graphs, exports without weights) list the data first and fix every dimension of a parameter. So data is the
 * first input, every input with a free or unknown dimension, and every input that starts with the same (batch) dimension
 * as the first one, unless its name says weight, kernel, filter or bias.
 */
function isParameterInput(graph: Graph, input: Value): boolean {
  const first = fedInputs(graph)[0];
  const { declared } = input;
  if (!first || input === first) return false;
  if (!declared || declared.length === 0 || !declared.every((dim) => typeof dim === "number")) return false;
  if (/(weight|kernel|filter|bias)/i.test(input.name)) return true;
  return declared[0] !== first.shape?.[0];
}
