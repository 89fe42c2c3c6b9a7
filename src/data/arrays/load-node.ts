import { basename } from "node:path";
import { FileError } from "../../errors.ts";
import { readOrdinary } from "../../onnx/read-file.ts";
import { float16ToNumber } from "../../onnx/small-types.ts";
import type { Tensor } from "../../onnx/tensor.ts";
import { reasonOf } from "../../onnx/write-file.ts";
import { decodeTensors } from "../../programs/checkpoint.ts";
import type { SourceArray } from "../array-dataset.ts";
import { parseNpy } from "../npy.ts";
import { dataOfArrays, type NamedArray } from "../npz.ts";
import type { SplitData } from "../split-data.ts";
import { gunzip } from "../unzip.ts";
import { parseIdxArray } from "./idx-array.ts";

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
