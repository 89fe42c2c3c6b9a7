import { unusableNumber } from "../analysis/unusable-numbers.ts";
import { NumericError } from "../errors.ts";
import type { Value } from "../graph/node.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import { numberToBfloat16, numberToFloat16 } from "../onnx/small-types.ts";
import { Tensor } from "../onnx/tensor.ts";
import type { Target } from "./merge-targets.ts";

/** The numbers of a weight. */
export function numbersOf(tensor: Tensor): ArrayLike<number> {
  const { type } = tensor;
  return type === "float" || type === "double" ? (tensor.data as Float32Array) : tensor.numbers();
}

/** The largest magnitude of what adapters add to a weight, if that is known without the weight; else infinite. */
export function extentOf(targets: readonly Target[]): number {
  let extent = 0;
  for (const { rows } of targets) {
    if (!rows) return Number.POSITIVE_INFINITY;
    let largest = 0;
    for (const row of rows()) {
      for (const number of row) largest = Math.max(largest, Math.abs(number));
    }
    extent += largest;
  }
  return Number.isNaN(extent) ? Number.POSITIVE_INFINITY : extent;
}

/** Memory that is used again for each weight: discarded arrays would stay in memory until the next garbage collection. */
export class Scratch {
  #array = new Float64Array();

  take(length: number): Float64Array {
    if (this.#array.length < length) this.#array = new Float64Array(length);
    return this.#array.subarray(0, length);
  }
}

/** The numbers of a weight with what adapters add, in `sum`. */
export function summed(
  before: ArrayLike<number>,
  targets: readonly Target[],
  sum: Float64Array,
): Float64Array {
  sum.set(before);
  for (const target of targets) target.addTo(sum);
  return sum;
}

const holders: Readonly<Partial<Record<DataTypeName, (number: number) => boolean>>> = {
  float: (number) => Number.isFinite(Math.fround(number)),
  float16: (number) => (numberToFloat16(number) & 0x7c00) !== 0x7c00,
  bfloat16: (number) => (numberToBfloat16(number) & 0x7f80) !== 0x7f80,
};

/** @throws NumericError for NaN and Infinity that the weight did not hold before */
export function checkHolds(
  before: Tensor,
  sum: Float64Array,
  { list, value }: { readonly list: readonly Target[]; readonly value: Value },
): void {
  const holds = holders[before.type] ?? Number.isFinite;
  if (sum.every(holds) || unusableNumber(before)) return;
  const broken = unusableNumber(rounded(before, sum, value.name)) ?? "";
  throw new NumericError(
    broken.startsWith("NaN")
      ? `merged, "${value.name}" would hold ${broken}: the adapter holds NaN or Infinity for the layer "${list[0]?.name}"; take an earlier one`
      : `merged, "${value.name}" would hold ${broken}, more than its type (${before.type}) does: convert the model to float32, or merge a smaller share of the adapter into the layer "${list[0]?.name}"`,
  );
}

/** Numbers in a tensor's type and shape. */
export function rounded({ type, dims }: Tensor, numbers: Float64Array, name: string): Tensor {
  if (type === "float") return Tensor.of(name, type, dims, new Float32Array(numbers));
  if (type === "double") return Tensor.of(name, type, dims, numbers.slice());
  return Tensor.of(
    name,
    type,
    dims,
    Uint16Array.from(numbers, type === "float16" ? numberToFloat16 : numberToBfloat16),
  );
}
