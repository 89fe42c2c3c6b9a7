import { basename } from "node:path";
import { FileError } from "../../errors.ts";
import { readOrdinary } from "../../onnx/read-file.ts";
import { float16ToNumber } from "../../onnx/small-types.ts";
import { elementCount, type Tensor } from "../../onnx/tensor.ts";
import { reasonOf } from "../../onnx/write-file.ts";
import { decodeTensors } from "../../programs/checkpoint.ts";
import type { SourceArray } from "../array-dataset.ts";
import { type NpyArray, parseNpy } from "../npy.ts";
import { dataOfArrays, type NamedArray } from "../npz.ts";
import type { SplitData } from "../split-data.ts";
import { gunzip } from "../unzip.ts";

const arrayFile =
  /\.(npy|safetensors)$|[-.](idx\d)(-u?byte|-short|-int|-float|-double)?(\.gz)?$|\.idx(\.gz)?$/i;

/** Whether a file holds arrays, by its name: `.npy`, `.safetensors`, IDX (`train-images-idx3-ubyte.gz`). */
export const isArrayFile = (path: string): boolean => arrayFile.test(basename(path));

/**
 * The data in files of arrays. A file holds the array of its name (`x.npy`, `train-labels-idx1-ubyte`), a `.safetensors` file
 * several; the names say what they are, as in an `.npz` archive.
 * @param name - the source, for messages
 * @throws SorthError when a file cannot be read, or the arrays do not fit each other
 */
export async function loadArrays(paths: readonly string[], name: string): Promise<SplitData> {
  const arrays: NamedArray[] = [];
  for (const path of paths) arrays.push(...arraysIn(await contentOf(path), path));
  return dataOfArrays(arrays, name);
}

async function contentOf(path: string): Promise<Uint8Array> {
  try {
    const bytes = new Uint8Array(await readOrdinary(path));
    return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzip(bytes) : bytes;
  } catch (error) {
    throw new FileError(`${path}: cannot be read (${reasonOf(error)})`);
  }
}

function arraysIn(bytes: Uint8Array, path: string): NamedArray[] {
  const file = nameIn(path);
  if (/\.npy$/i.test(path)) return [{ file, read: () => parseNpy(bytes, path) }];
  if (!/\.safetensors$/i.test(path)) return [{ file, read: () => parseIdxArray(bytes, path) }];
  return [...decodeTensors(bytes, path, "safetensors file").tensors].map(([key, tensor]) => ({
    file: key,
    read: () => ({ shape: tensor.dims, data: numbersIn(tensor, `${path}: ${key}`), dtype: dtypeOf(tensor) }),
  }));
}

/** The name of the array in a file. `t10k-images-idx3-ubyte.gz` holds test images. */
const nameIn = (path: string): string =>
  basename(path)
    .replace(/\.gz$/i, "")
    .replace(arrayFile, "")
    .replace(/^t10k(?=[-_.])/i, "test")
    .replaceAll(".", "_");

/** The name of a tensor's type in NumPy. */
const dtypeOf = ({ type }: Tensor): string =>
  type === "float" ? "float32" : type === "double" ? "float64" : type;

/** The numbers of a tensor; 16-bit floats become 32-bit ones. */
function numbersIn({ type, data }: Tensor, where: string): SourceArray {
  if (type === "float16") return Float32Array.from(data as Uint16Array, float16ToNumber);
  if (type === "bfloat16") {
    const words = Uint32Array.from(data as Uint16Array, (half) => half << 16);
    return new Float32Array(words.buffer);
  }
  if (ArrayBuffer.isView(data) && !(data instanceof DataView)) return data as SourceArray;
  throw new FileError(`${where}: holds ${type}; save numbers`);
}

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
const isIdx = (bytes: Uint8Array): boolean =>
  bytes[0] === 0 && bytes[1] === 0 && (bytes[2] ?? 0) in types && (bytes[3] ?? 0) > 0;

/**
 * Reads an IDX file of any of its types: bytes, 16-bit and 32-bit integers, floats of 32 and 64 bits.
 * @throws SorthError for other files, and when size and shape differ
 */
function parseIdxArray(bytes: Uint8Array, where: string): NpyArray {
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
