import { FileError } from "../../errors.ts";
import { elementCount } from "../../onnx/tensor.ts";
import type { NpyArray } from "../npy.ts";

/** Readers of IDX's element types by their code; numbers are big-endian. */
const types: Readonly<
  Record<number, readonly [size: number, array: (view: DataView, length: number) => NpyArray["data"]]>
> = {
  8: [1, (view, length) => new Uint8Array(view.buffer, view.byteOffset, length)],
  9: [1, (view, length) => new Int8Array(view.buffer, view.byteOffset, length)],
  11: [2, (view, length) => Int16Array.from({ length }, (_, i) => view.getInt16(2 * i))],
  12: [4, (view, length) => Int32Array.from({ length }, (_, i) => view.getInt32(4 * i))],
  13: [4, (view, length) => Float32Array.from({ length }, (_, i) => view.getFloat32(4 * i))],
  14: [8, (view, length) => Float64Array.from({ length }, (_, i) => view.getFloat64(8 * i))],
};

/** Whether a file begins as an IDX file does. */
export const isIdx = (bytes: Uint8Array): boolean =>
  bytes[0] === 0 && bytes[1] === 0 && (bytes[2] ?? 0) in types && (bytes[3] ?? 0) > 0;

/**
 * Reads an IDX file of any of its types: bytes, 16-bit and 32-bit integers, floats of 32 and 64 bits.
 * @throws SorthError for other files, and when size and shape differ
 */
export function parseIdxArray(bytes: Uint8Array, where: string): NpyArray {
  const [size, read] = types[bytes[2] ?? 0] ?? [0, undefined];
  const rank = bytes[3] ?? 0;
  const start = 4 + 4 * rank;
  if (!isIdx(bytes) || !read || bytes.length < start) throw new FileError(`${where}: not an IDX file`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  const expected = elementCount(shape) * size;
  if (bytes.length - start !== expected) {
    throw new FileError(
      `${where}: shape [${shape.join(", ")}] takes ${expected} bytes, but ${bytes.length - start} follow the header; the file is damaged`,
    );
  }
  return { shape, data: read(new DataView(bytes.buffer, bytes.byteOffset + start), elementCount(shape)) };
}
