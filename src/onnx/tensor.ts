import Long from "long";
import { FileError, SorthError } from "../errors.ts";
import { DataType, type DataTypeName, dataTypeName } from "./data-types.ts";
import { bytesOfFields, fromFields } from "./fields.ts";
import { onnx } from "./schema.js";
import { decodedNumbers } from "./small-types.ts";
import { type Chunk, chunkBytes, chunkSize, keepStored, type StoredBytes, storedBytes } from "./stored.ts";
import {
  arrayFor,
  byteLengthOf,
  elementCount,
  int64Array,
  type NumericArray,
  type TensorData,
  viewOf,
} from "./tensor-data.ts";

export { byteLengthOf, elementCount, type TensorData, viewOf } from "./tensor-data.ts";

/** The file and the position in it of a tensor's external data. */
export interface ExternalReference {
  readonly location: string;
  readonly offset: number;
  readonly length?: number;
}

/** Returns the bytes of external data. */
export interface ExternalReader {
  (reference: ExternalReference): Uint8Array;
  /**
   * Where the bytes lie, so that they are read only when they are needed; bytes, where they are in memory.
   * @internal
   */
  readonly stored?: (reference: ExternalReference) => Chunk;
}

/** Size in bytes from which external data stays in its file rather than being stored in the model. */
export const largeBytes = 64 * 1024;

/** Data that was read for a message, kept while a tensor holds it, so that several graphs of one model share it. */
const alreadyRead = new WeakMap<onnx.TensorProto.$Properties, WeakRef<TensorData>>();

/**
 * A named, typed, shaped block of numbers (an initializer or a constant). Data is read on first use; raw data is a view
 * of the file's bytes, copied only if it is misaligned.
 *
 * @example
 * const bias = Tensor.of("fc.bias", "float", [3], new Float32Array([1, 2, 3]));
 * bias.dims; // [3]
 */
export class Tensor {
  readonly name: string;
  readonly type: DataTypeName;
  readonly dims: readonly number[];
  /** Location of the data, if it is external. */
  readonly external?: ExternalReference;
  /** Raw data that lies in the model's own file. */
  readonly #stored: StoredBytes | undefined;
  #read: () => TensorData;
  #readBeginning: ((dims: readonly number[]) => TensorData) | undefined;
  #data: TensorData | undefined;
  #keeps = true;

  private constructor(
    name: string,
    type: DataTypeName,
    dims: readonly number[],
    read: () => TensorData,
    external?: ExternalReference,
    readBeginning?: (dims: readonly number[]) => TensorData,
    stored?: StoredBytes,
  ) {
    this.name = name;
    this.type = type;
    this.dims = dims;
    if (external) this.external = external;
    this.#read = read;
    this.#readBeginning = readBeginning;
    this.#stored = stored;
  }

  /** A tensor of the given elements; keeps the array without copying it. */
  static of(name: string, type: DataTypeName, dims: readonly number[], data: TensorData): Tensor {
    return new Tensor(name, type, dims, () => data);
  }

  /**
   * A tensor whose raw data are read by each use.
   * @internal
   */
  static stored(name: string, type: DataTypeName, dims: readonly number[], bytes: StoredBytes): Tensor {
    const read = () => viewOf(type, chunkBytes(bytes));
    return new Tensor(name, type, dims, read, undefined, undefined, bytes).unkept();
  }

  /** A float32 tensor from plain numbers. */
  static float(name: string, dims: readonly number[], values: ArrayLike<number>): Tensor {
    return Tensor.of(name, "float", dims, Float32Array.from(values));
  }

  /** An int64 tensor from plain numbers. */
  static int64(name: string, dims: readonly number[], values: readonly number[]): Tensor {
    return Tensor.of(name, "int64", dims, int64Array(values));
  }

  /**
   * A tensor from a message. Data is read on first use; its size is checked immediately, that of external data if the message states it.
   * @throws SorthError when the data type is unknown, the size does not fit the shape, or the file cannot be read
   */
  static fromProto(proto: onnx.TensorProto.$Properties, external?: ExternalReader): Tensor {
    const type = dataTypeName(proto.dataType ?? 0);
    const dims = (proto.dims ?? []).map((dim) => Long.fromValue(dim).toNumber());
    const name = proto.name ?? "";
    checkStoredSize(proto, name, type, dims);
    const read = () => {
      const data = alreadyRead.get(proto)?.deref() ?? readData(proto, name, type, dims, external);
      alreadyRead.set(proto, new WeakRef(data));
      return data;
    };
    const reference = externalReference(proto);
    const stored = storedBytes(proto);
    const beginning = beginningOf(proto, { name, type, reference, external, stored });
    return new Tensor(name, type, dims, read, reference, beginning, stored);
  }

  /** Whether the elements can be had without reading a file. */
  get isInMemory(): boolean {
    return this.#data !== undefined || (!this.external && !this.#stored);
  }

  /** Number of elements. */
  get size(): number {
    return elementCount(this.dims);
  }

  /** The elements, stored as {@link TensorData} describes for each type. */
  get data(): TensorData {
    if (this.#data) return this.#data;
    const data = this.#read();
    if (this.#keeps) this.#data = data;
    return data;
  }

  /** The same tensor for readers of many large ones: it does not keep what it has read, so the next use reads it again. */
  unkept(): Tensor {
    if (this.#data) return this;
    const tensor = this.unread();
    tensor.#keeps = false;
    return tensor;
  }

  /**
   * The same tensor without what it has read, so that this memory can be freed: the next use reads it again.
   * @internal
   */
  unread(): Tensor {
    const { name, type, dims, external } = this;
    return new Tensor(name, type, dims, this.#read, external, this.#readBeginning, this.#stored);
  }

  /**
   * The first rows along axis 0, at most `most` elements but at least one row; this tensor itself if it has no
   * more. Reads only these bytes of external data.
   */
  beginning(most: number): Tensor {
    const [rows = 1, ...others] = this.dims;
    const row = elementCount(others);
    const taken = Math.max(1, Math.floor(most / Math.max(row, 1)));
    if (taken >= rows) return this;
    const dims = [taken, ...others];
    return new Tensor(this.name, this.type, dims, () => {
      if (!this.#data && this.#readBeginning) return this.#readBeginning(dims);
      const { data } = this;
      return data.slice(0, Math.ceil((data.length / rows) * taken)) as TensorData;
    });
  }

  /** The elements as raw little-endian bytes: a view of {@link Tensor.data}. @throws SorthError for strings */
  get bytes(): Uint8Array {
    const data = this.data;
    if (Array.isArray(data))
      throw new SorthError(`tensor "${this.name}" holds strings, which have no raw bytes`);
    const numeric = data as NumericArray;
    return new Uint8Array(numeric.buffer, numeric.byteOffset, numeric.byteLength);
  }

  /**
   * The raw bytes, or the part of a file that holds them and has not been read. @throws SorthError for strings
   * @internal
   */
  get chunk(): Chunk {
    return this.#stored && !this.#data ? this.#stored : this.bytes;
  }

  /**
   * The elements as plain numbers: 64-bit integers rounded to doubles, half floats and packed types decoded, complex
   * numbers as pairs.
   * @throws SorthError for strings
   */
  numbers(): number[] {
    const data = this.data;
    if (Array.isArray(data)) throw new SorthError(`tensor "${this.name}" holds strings, not numbers`);
    const decoded = decodedNumbers(this.type, data as ArrayLike<number>, this.size);
    if (decoded) return decoded;
    return Array.from(data as ArrayLike<number | bigint>, Number);
  }

  /** The same data under another name. */
  named(name: string): Tensor {
    const read = () => this.data;
    return new Tensor(name, this.type, this.dims, read, this.external, this.#readBeginning, this.#stored);
  }

  /** The same data under another name, for a model in another folder: not looked for in an external file of that one. */
  moved(name: string): Tensor {
    const read = () => this.data;
    return new Tensor(name, this.type, this.dims, read, undefined, this.#readBeginning, this.#stored);
  }

  /**
   * The same bytes as elements of another type: packed bytes as the 4-bit numbers that they hold, for instance. Data in a file
   * stays there, and both tensors name the same range of it.
   * @throws SorthError when the new shape needs another number of bytes
   */
  reread(type: DataTypeName, dims: readonly number[]): Tensor {
    const held = byteLengthOf(this.type, this.dims);
    if (byteLengthOf(type, dims) !== held) throw wrongSize(this.name, type, dims, held);
    const read = () => viewOf(type, this.bytes);
    return new Tensor(this.name, type, dims, read, this.external, undefined, this.#stored);
  }

  /**
   * A message with raw data: a view of this tensor's memory, or a part of the model's file that is not read.
   * @param keepExternal - leave large external data in its file, unread; the message refers to it
   */
  toProto(keepExternal = false): onnx.TensorProto {
    const proto = new onnx.TensorProto({
      name: this.name,
      dataType: DataType[this.type],
      dims: this.dims.map((dim) => Long.fromNumber(dim)),
    });
    if (keepExternal && this.external && byteLengthOf(this.type, this.dims) >= largeBytes) {
      const { location, offset, length = byteLengthOf(this.type, this.dims) } = this.external;
      proto.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
      proto.externalData = Object.entries({ location, offset, length }).map(([key, value]) => ({
        key,
        value: `${value}`,
      }));
    } else if (this.#stored && !this.#data) keepStored(proto, this.#stored);
    else if (this.type === "string") proto.stringData = [...(this.data as readonly Uint8Array[])];
    else proto.rawData = this.bytes;
    return proto;
  }
}

/** Reads the first bytes of data that lie in a file; undefined for data in memory. */
function beginningOf(
  proto: onnx.TensorProto.$Properties,
  of: {
    readonly name: string;
    readonly type: DataTypeName;
    readonly reference: ExternalReference | undefined;
    readonly external: ExternalReader | undefined;
    readonly stored: StoredBytes | undefined;
  },
): ((dims: readonly number[]) => TensorData) | undefined {
  const { name, type, reference, external, stored } = of;
  if (stored) {
    return (some) => viewOf(type, chunkBytes({ ...stored, end: stored.start + byteLengthOf(type, some) }));
  }
  if (!reference || !external) return undefined;
  return (some) =>
    readData(proto, name, type, some, (range) => external({ ...range, length: byteLengthOf(type, some) }));
}

/** The location of a message's external data; undefined if the data is in the message. */
export function externalReference(proto: onnx.TensorProto.$Properties): ExternalReference | undefined {
  if (proto.dataLocation !== onnx.TensorProto.DataLocation.EXTERNAL) return undefined;
  const entries = new Map((proto.externalData ?? []).map(({ key, value }) => [key ?? "", value ?? ""]));
  const length = entries.get("length");
  return {
    location: entries.get("location") ?? "",
    offset: Number(entries.get("offset") ?? 0),
    ...(length === undefined ? {} : { length: Number(length) }),
  };
}

/** @throws SorthError when the size of the data in the message, or the stated length of external data, does not fit the shape */
function checkStoredSize(
  proto: onnx.TensorProto.$Properties,
  name: string,
  type: DataTypeName,
  dims: readonly number[],
): void {
  if (type === "undefined" || type === "string") return;
  if (dims.some((dim) => dim < 0)) {
    throw new FileError(`tensor "${name}" has a negative dimension: shape [${dims.join(", ")}]`);
  }
  const external = externalReference(proto);
  const own = storedBytes(proto);
  const inMessage = own
    ? chunkSize(own)
    : proto.rawData?.length || bytesOfFields(proto, arrayFor(type).BYTES_PER_ELEMENT);
  const stored = external ? external.length : inMessage;
  if (stored === undefined) return;
  const expected = byteLengthOf(type, dims);
  if (stored !== expected) throw wrongSize(name, type, dims, stored);
}

const wrongSize = (name: string, type: DataTypeName, dims: readonly number[], stored: number): SorthError =>
  new FileError(
    `tensor "${name}" (${type}, shape [${dims.join(", ")}]) needs ${byteLengthOf(type, dims)} bytes but holds ${stored}`,
  );

function readData(
  proto: onnx.TensorProto.$Properties,
  name: string,
  type: DataTypeName,
  dims: readonly number[],
  external: ExternalReader | undefined,
): TensorData {
  if (type === "undefined") {
    throw new FileError(`tensor "${name}" has the unknown data type ${proto.dataType ?? 0}`);
  }
  if (type === "string") return proto.stringData ?? [];
  const expected = byteLengthOf(type, dims);
  const reference = externalReference(proto);
  let data: NumericArray;
  if (reference) {
    if (!external) {
      throw new FileError(
        `tensor "${name}" has its data in the file "${reference.location}"; read the model with readModel(path)`,
      );
    }
    data = viewOf(type, external({ ...reference, length: reference.length ?? expected }));
  } else {
    const raw = proto.rawData;
    data = raw?.length ? viewOf(type, raw) : (fromFields(proto, type, arrayFor(type)) as NumericArray);
  }
  if (data.byteLength !== expected) throw wrongSize(name, type, dims, data.byteLength);
  return data;
}
