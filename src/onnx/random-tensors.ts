import { DataError } from "../errors.ts";
import type { Random } from "../random.ts";
import type { DataTypeName } from "./data-types.ts";
import { numberToFloat16 } from "./small-types.ts";
import { elementCount, Tensor } from "./tensor.ts";
import { arrayFor, boundTypes } from "./tensor-data.ts";

/**
 * A tensor of standard normal floats, or of integers from 0 to `below` − 1.
 * @throws SorthError for other types, and for sizes for which there is no memory
 */
export function randomTensor(
  random: Random,
  name: string,
  type: DataTypeName,
  dims: readonly number[],
  below = 2,
): Tensor {
  const isFloat = type === "float" || type === "double" || type === "float16";
  const [length, next] = [elementCount(dims), () => (isFloat ? random.normal() : random.integer(below))];
  try {
    // The usual type without a list of 8 bytes for each number beside it.
    if (type === "float") return Tensor.of(name, type, dims, Float32Array.from({ length }, next));
    return tensorOf(name, type, dims, Array.from({ length }, next));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new DataError(
      `"${name}" has the sizes [${dims}], which need an array larger than this machine can hold: use smaller ones (--batch, --dim), or export the model with smaller or free dimensions`,
      { cause: error },
    );
  }
}

/** A tensor of the given numbers. @throws SorthError for a type that ONNX Runtime's binding does not accept */
export function tensorOf(
  name: string,
  type: DataTypeName,
  dims: readonly number[],
  numbers: readonly number[],
): Tensor {
  if (!boundTypes.has(type))
    throw new DataError(`cannot make numbers of type ${type} for "${name}"; give its data`);
  const convert = { float16: numberToFloat16, int64: BigInt, uint64: BigInt }[type as string] ?? Number;
  return Tensor.of(name, type, dims, arrayFor(type).from(numbers, convert));
}
