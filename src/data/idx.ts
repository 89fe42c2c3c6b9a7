import { FileError } from "../errors.ts";
import { elementCount } from "../onnx/tensor.ts";

/** An array of bytes from an IDX file, the format of MNIST. */
export interface IdxArray {
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/**
 * Reads an IDX file of bytes (magic 0x0000080r for rank r, then r big-endian dimensions, then the bytes).
 * @param where - the file, for messages
 * @throws SorthError for other files, and when size and shape differ
 */
export function parseIdx(bytes: Uint8Array, where: string): IdxArray {
  const rank = bytes[3] ?? 0;
  const start = 4 + 4 * rank;
  if (bytes[0] !== 0 || bytes[1] !== 0 || bytes[2] !== 8 || rank === 0 || bytes.length < start) {
    throw new FileError(`${where}: not an IDX file of bytes, as MNIST's are`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  const data = bytes.subarray(start);
  if (data.length !== elementCount(shape)) {
    throw new FileError(
      `${where}: shape [${shape.join(", ")}] takes ${elementCount(shape)} bytes, but ${data.length} follow the header; the file is damaged`,
    );
  }
  return { shape, data };
}
