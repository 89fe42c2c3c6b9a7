import { UsageError } from "../errors.ts";
import { tagOf } from "../known-options.ts";
import type { NumericArray } from "../onnx/tensor-data.ts";
import { isObject, whatIs } from "../what-is.ts";

/** Arrays from which a dataset can be made. */
export type SourceArray = NumericArray | Uint8ClampedArray;

const kinds = [
  ...[Float32Array, Float64Array, Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array],
  ...[Int32Array, Uint32Array, BigInt64Array, BigUint64Array],
];

/**
 * The numbers that somebody gives as an array of a dataset. Those of another realm (an iframe, node's vm) become an array of
 * this one, over the same memory.
 * @throws UsageError for anything but a typed array, whose type says whether its numbers are integers
 */
export function sourceArray(name: string, key: string, given: unknown): SourceArray {
  const Kind = kinds.find((kind) => kind.name === tagOf(given));
  if (Kind === undefined || !isObject(given)) {
    const example = Array.isArray(given)
      ? `: write Float32Array.from(${key}), or Int32Array.from(${key})`
      : "";
    throw new UsageError(`${name}: ${key} is a typed array, not ${whatIs(given)}${example}`);
  }
  if (given instanceof Kind) return given;
  const { buffer, byteOffset, length } = given as Float32Array;
  return new Kind(buffer as ArrayBuffer, byteOffset, length);
}

/** @throws UsageError for what is no shape of a sample */
export function checkShape(name: string, what: string, shape: unknown): void {
  if (Array.isArray(shape) && shape.every((length) => Number.isSafeInteger(length) && length >= 0)) return;
  throw new UsageError(`${name}: ${what} is a list of lengths, as in [1, 28, 28], not ${shown(shape)}`);
}

const shown = (shape: unknown): string => (Array.isArray(shape) ? `[${shape.map(whatIs)}]` : whatIs(shape));
