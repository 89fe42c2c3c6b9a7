import { constantTensor } from "../analysis/probe-model.ts";
import type { Value } from "../graph/node.ts";

/** One operator between a stored weight and the operand of a layer: axes permuted, or another shape for the same numbers. */
export type WeightStep = { readonly permutation: readonly number[] } | { readonly dims: readonly number[] };

interface FoundWeight {
  /** The stored weight. */
  readonly stored: Value;
  /** Its numbers as floats: the stored weight, or the output of the DequantizeLinear behind it. */
  readonly source: Value;
  readonly isQuantized: boolean;
  /** The operators between these numbers and the operand, from the numbers on; `dims` is the shape before a Reshape. */
  readonly steps: readonly WeightStep[];
}

/** The weight behind an operand; a text says why there is none whose numbers are known. */
export function weightSteps(operand: Value): FoundWeight | string {
  const steps: WeightStep[] = [];
  let value = operand;
  for (;;) {
    const tensor = constantTensor(value);
    if (tensor) {
      return ["float", "double", "float16", "bfloat16"].includes(tensor.type)
        ? { stored: value, source: value, isQuantized: false, steps: steps.reverse() }
        : `its weight is ${tensor.type}`;
    }
    const { producer } = value;
    const source = producer?.domain === "" ? producer.inputs[0] : undefined;
    if (!producer || !source) return "its weight is computed";
    if (producer.opType === "Transpose") {
      const rank = source.shape?.length ?? constantTensor(source)?.dims.length ?? 0;
      steps.push({
        permutation: producer.ints("perm") ?? Array.from({ length: rank }, (_, i) => rank - 1 - i),
      });
    } else if (["Reshape", "Squeeze", "Unsqueeze", "Flatten"].includes(producer.opType)) {
      const dims = source.shape ?? constantTensor(source)?.dims;
      if (!dims) return "the shape of its weight is not known";
      steps.push({ dims });
    } else if (producer.opType === "DequantizeLinear") {
      return producer.inputs.every((input) => !input || constantTensor(input))
        ? { stored: source, source: value, isQuantized: true, steps: steps.reverse() }
        : "its weight is quantized (DequantizeLinear)";
    } else if (!["Identity", "Cast"].includes(producer.opType))
      return `its weight is computed (${producer.opType})`;
    value = source;
  }
}

/** The numbers of an operand in the layout of the stored weight: the steps undone. @param dims - the operand's shape */
export function toStored(
  numbers: Float64Array,
  dims: readonly number[],
  steps: readonly WeightStep[],
): Float64Array {
  let [data, shape] = [numbers, dims];
  for (const step of [...steps].reverse()) {
    if ("dims" in step) shape = step.dims;
    else {
      const before = unpermutedShape(shape, step.permutation);
      data = unpermuted(data, shape, step.permutation, before);
      shape = before;
    }
  }
  return data;
}

/** The shape before a Transpose. */
export const unpermutedShape = (shape: readonly number[], permutation: readonly number[]): number[] =>
  permutation.map((_, axis) => shape[permutation.indexOf(axis)] ?? 1);

/** The array whose axes a Transpose put into the order `permutation`. */
export function unpermuted(
  data: Float64Array,
  shape: readonly number[],
  permutation: readonly number[],
  before: readonly number[],
): Float64Array {
  const strideBefore = before.map((_, axis) => before.slice(axis + 1).reduce((a, b) => a * b, 1));
  const strides = permutation.map((axis) => strideBefore[axis] ?? 0);
  const result = new Float64Array(data.length);
  const index = shape.map(() => 0);
  let place = 0;
  for (const number of data) {
    result[place] = number;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const at = (index[axis] ?? 0) + 1;
      place += strides[axis] ?? 0;
      if (at < (shape[axis] ?? 0)) {
        index[axis] = at;
        break;
      }
      place -= at * (strides[axis] ?? 0);
      index[axis] = 0;
    }
  }
  return result;
}
