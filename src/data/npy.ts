import { FileError } from "../errors.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import { float16ToNumber } from "../onnx/small-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import { arrayFor } from "../onnx/tensor-data.ts";
import type { SourceArray } from "./array-dataset.ts";

/** A NumPy array with its elements in C order (last axis fastest). */
export interface NpyArray {
  readonly shape: readonly number[];
  readonly data: SourceArray;
  /** Its type in NumPy, where the elements above have another one: bool, float16. */
  readonly dtype?: string;
}

/** Supported element types of NumPy (kind and size in bytes); other numeric types are refused by name. */
const types: Readonly<Record<string, DataTypeName>> = {
  ...{ b1: "bool", u1: "uint8", i1: "int8", u2: "uint16", i2: "int16", u4: "uint32", i4: "int32" },
  ...{ u8: "uint64", i8: "int64", f2: "float16", f4: "float", f8: "double" },
};

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

/**
 * Reads a `.npy` file (versions 1 to 3): bool, integers of 8 to 64 bits, floats of 16 to 64 bits (float16 becomes
 * float32), either byte order, C or Fortran order. Format: numpy.lib.format.
 * @param where - the file or array, for messages
 * @throws SorthError for other files, for objects, strings and complex numbers, and when size and shape differ
 */
export function parseNpy(bytes: Uint8Array, where: string): NpyArray {
  const { descr, fortran, shape, dataAt } = readHeader(bytes, where);
  const { type, swap } = elementType(descr, where);
  const arrayType = arrayFor(type);
  const itemSize = arrayType.BYTES_PER_ELEMENT;
  const expected = elementCount(shape) * itemSize;
  const found = bytes.length - dataAt;
  if (found !== expected) {
    throw new FileError(
      `${where}: an array of shape [${shape.join(", ")}] and type ${descr} takes ${expected} bytes, but ${found} follow the header; the file is damaged`,
    );
  }
  // Not slice(): a Buffer's slice is not a copy.
  const copy = new Uint8Array(bytes.subarray(dataAt));
  if (swap) swapBytes(copy, itemSize);
  const stored = new arrayType(copy.buffer);
  const data = type === "float16" ? Float32Array.from(stored as Uint16Array, float16ToNumber) : stored;
  const dtype = type === "float16" || type === "bool" ? type : undefined;
  return {
    shape,
    data: fortran && shape.length > 1 ? toRowMajor(data, shape) : data,
    ...(dtype && { dtype }),
  };
}

interface Header {
  readonly descr: string;
  readonly fortran: boolean;
  readonly shape: readonly number[];
  readonly dataAt: number;
}

function readHeader(bytes: Uint8Array, where: string): Header {
  if (!magic.every((byte, i) => bytes[i] === byte)) throw new FileError(`${where}: not a NumPy .npy array`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes[6] ?? 0;
  if (version < 1 || version > 3)
    throw new FileError(`${where}: .npy version ${version} is not known (1 to 3 are)`);
  const start = version === 1 ? 10 : 12;
  if (bytes.length < start) throw new FileError(`${where}: the .npy header is cut off`);
  const dataAt = start + (version === 1 ? view.getUint16(8, true) : view.getUint32(8, true));
  if (dataAt > bytes.length) throw new FileError(`${where}: the .npy header is cut off`);
  const text = new TextDecoder().decode(bytes.subarray(start, dataAt)).trim();
  if (/'descr':\s*\[/.test(text)) {
    throw new FileError(`${where}: a structured NumPy array; save x and y as plain arrays`);
  }
  const descr = /'descr':\s*'([^']*)'/.exec(text)?.[1];
  const order = /'fortran_order':\s*(True|False)\b/.exec(text)?.[1];
  const dims = /'shape':\s*\(([\d\s,]*)\)/.exec(text)?.[1];
  if (!text.startsWith("{") || descr === undefined || order === undefined || dims === undefined) {
    throw new FileError(`${where}: the .npy header cannot be read: ${JSON.stringify(text.slice(0, 80))}`);
  }
  const shape = (dims.match(/\d+/g) ?? []).map(Number);
  if (!Number.isSafeInteger(elementCount(shape))) {
    throw new FileError(
      `${where}: the .npy header declares the shape (${shape.join(", ")}), which cannot be right`,
    );
  }
  return { descr, fortran: order === "True", shape, dataAt };
}

function elementType(descr: string, where: string) {
  const [, byteOrder, code = ""] = /^([<>|=]?)(\w+)$/.exec(descr) ?? [];
  const type = Object.hasOwn(types, code) ? types[code] : undefined;
  if (!type) {
    const what = code.startsWith("O")
      ? "holds Python objects"
      : `has elements of type ${JSON.stringify(descr)}`;
    throw new FileError(`${where}: the array ${what}; save numbers (bool, integers or floats up to 64 bits)`);
  }
  return { type, swap: byteOrder === ">" };
}

function swapBytes(bytes: Uint8Array, itemSize: number): void {
  for (let at = 0; at < bytes.length; at += itemSize) bytes.subarray(at, at + itemSize).reverse();
}

/** Reorders elements from Fortran order (first axis fastest) to C order (last axis fastest). */
function toRowMajor(data: SourceArray, shape: readonly number[]): SourceArray {
  const result = data.slice() as SourceArray;
  const strides = shape.map((_, axis) => elementCount(shape.slice(0, axis)));
  const index = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < data.length; to++) {
    result[to] = data[from] as never;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const [dim, stride] = [shape[axis] as number, strides[axis] as number];
      from += stride;
      index[axis] = (index[axis] as number) + 1;
      if ((index[axis] as number) < dim) break;
      index[axis] = 0;
      from -= stride * dim;
    }
  }
  return result;
}
