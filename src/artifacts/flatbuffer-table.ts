import { ByteBuffer } from "flatbuffers";
import { dataTypeName } from "../onnx/data-types.ts";
import { byteLengthOf, Tensor, viewOf } from "../onnx/tensor.ts";

/** Remaining number of bytes that may be read from a file. */
interface Budget {
  bytes: number;
}

/** How often the bytes of a file may be read on average; more than once, because writers let equal names share bytes. */
const sharing = 4;

/**
 * A table of a flatbuffer, read by field number. Checks every offset against the file's size before following it, which
 * the flatbuffers package leaves to its caller. Limits the total that is read, because a small file whose offsets all
 * point to the same place would otherwise expand without end.
 */
export class FlatbufferTable {
  readonly #buffer: ByteBuffer;
  readonly #budget: Budget;
  readonly #position: number;
  readonly #vtable: number;
  readonly #vtableSize: number;

  private constructor(buffer: ByteBuffer, budget: Budget, position: number) {
    this.#buffer = buffer;
    this.#budget = budget;
    this.#position = this.#checked(position, 4);
    this.#vtable = this.#checked(position - buffer.readInt32(position), 4);
    this.#vtableSize = buffer.readUint16(this.#vtable);
    this.#checked(this.#vtable, this.#vtableSize);
  }

  /** The root table of a file. @throws RangeError when an offset points outside the file */
  static rootOf(bytes: Uint8Array): FlatbufferTable {
    if (bytes.length < 8) throw new RangeError("it is too short");
    const buffer = new ByteBuffer(bytes);
    return new FlatbufferTable(buffer, { bytes: sharing * bytes.length }, buffer.readUint32(0));
  }

  int32(field: number): number {
    const at = this.#field(field, 4);
    return at === undefined ? 0 : this.#buffer.readInt32(at);
  }

  int64(field: number, fallback: bigint): bigint {
    const at = this.#field(field, 8);
    return at === undefined ? fallback : this.#buffer.readInt64(at);
  }

  float32(field: number): number {
    const at = this.#field(field, 4);
    return at === undefined ? 0 : this.#buffer.readFloat32(at);
  }

  boolean(field: number): boolean {
    const at = this.#field(field, 1);
    return at !== undefined && this.#buffer.readUint8(at) !== 0;
  }

  /** @throws RangeError for text that is not UTF-8 */
  text(field: number): string | undefined {
    const bytes = this.bytes(field);
    return bytes && utf8.decode(bytes);
  }

  /** A vector of bytes, as a view. */
  bytes(field: number): Uint8Array | undefined {
    const vector = this.#vector(field, 1);
    return vector && this.#buffer.bytes().subarray(vector.start, vector.start + vector.length);
  }

  int64s(field: number): bigint[] | undefined {
    const vector = this.#vector(field, 8);
    return (
      vector && Array.from({ length: vector.length }, (_, i) => this.#buffer.readInt64(vector.start + 8 * i))
    );
  }

  table(field: number): FlatbufferTable | undefined {
    const at = this.#field(field, 4);
    return at === undefined ? undefined : this.#tableAt(at);
  }

  /** A vector of tables; undefined if the file has none. */
  tables(field: number): FlatbufferTable[] | undefined {
    const vector = this.#vector(field, 4);
    return vector && Array.from({ length: vector.length }, (_, i) => this.#tableAt(vector.start + 4 * i));
  }

  #tableAt(offset: number): FlatbufferTable {
    return new FlatbufferTable(this.#buffer, this.#budget, offset + this.#buffer.readUint32(offset));
  }

  #field(field: number, size: number): number | undefined {
    const entry = 4 + 2 * field;
    if (entry + 2 > this.#vtableSize) return undefined;
    const offset = this.#buffer.readUint16(this.#vtable + entry);
    return offset === 0 ? undefined : this.#checked(this.#position + offset, size);
  }

  #vector(field: number, elementSize: number): { start: number; length: number } | undefined {
    const at = this.#field(field, 4);
    if (at === undefined) return undefined;
    const start = this.#checked(at + this.#buffer.readUint32(at), 4);
    const length = this.#buffer.readUint32(start);
    this.#checked(start + 4, length * elementSize);
    this.#budget.bytes -= 4 + length * elementSize;
    if (this.#budget.bytes < 0) throw new RangeError("its parts overlap");
    return { start: start + 4, length };
  }

  #checked(offset: number, size: number): number {
    if (offset < 0 || offset + size > this.#buffer.capacity()) {
      throw new RangeError(`an offset leads to byte ${offset + size} of ${this.#buffer.capacity()}`);
    }
    return offset;
  }
}

/**
 * A tensor in a table of ONNX Runtime's formats: a name, int64 lengths, a type and the numbers as bytes.
 * @param fields - their field numbers
 * @throws RangeError when the bytes are not those of the shape
 */
export function tensorIn(
  table: FlatbufferTable,
  fields: Readonly<Record<"name" | "dims" | "type" | "data", number>>,
): Tensor {
  const name = table.text(fields.name) ?? "";
  const dims = (table.int64s(fields.dims) ?? []).map(Number);
  const type = dataTypeName(table.int32(fields.type));
  const data = table.bytes(fields.data) ?? new Uint8Array();
  const expected = dims.every((dim) => Number.isSafeInteger(dim) && dim >= 0) && byteLengthOf(type, dims);
  if (expected !== data.length) {
    throw new RangeError(`"${name}" is ${type} [${dims.join(", ")}] but has ${data.length} bytes`);
  }
  return Tensor.of(name, type, dims, viewOf(type, data));
}

const utf8 = new TextDecoder("utf-8", { fatal: true });
