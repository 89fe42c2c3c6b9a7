import { FileError, messageOf } from "../errors.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import type { Chunk } from "../onnx/stored.ts";
import { byteLengthOf, Tensor, viewOf } from "../onnx/tensor.ts";

/** Element types by the names of the safetensors format. */
const formatNames: Partial<Record<DataTypeName, string>> = {
  float: "F32",
  double: "F64",
  float16: "F16",
  bfloat16: "BF16",
  int32: "I32",
  int64: "I64",
};
/** The key under which the format keeps texts. */
const metadataKey = "__metadata__";
/** Types that files of other tools may hold, too. */
const otherNames: Partial<Record<DataTypeName, string>> = {
  ...{ bool: "BOOL", int8: "I8", uint8: "U8", int16: "I16", uint16: "U16", uint32: "U32", uint64: "U64" },
};
const ownNames = new Map(
  Object.entries({ ...formatNames, ...otherNames }).map(([own, theirs]) => [theirs, own as DataTypeName]),
);

/**
 * Writes named tensors as a file of the safetensors format: 8 bytes of header length, a JSON header, the numbers.
 * The numbers are views, not copies, or computed when they are read: the pieces are to be written one after the other.
 *
 * @param metadata - texts kept in the header
 */
export function encodeTensors(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>>,
): Chunk[] {
  let offset = 0;
  const entries: [string, unknown][] = [];
  for (const [name, tensor] of tensors) {
    const dtype = formatNames[tensor.type];
    if (name === metadataKey)
      throw new FileError(`a checkpoint cannot hold a tensor named "${name}": rename it`);
    if (!dtype) throw new FileError(`"${name}" is ${tensor.type}, which a checkpoint cannot hold`);
    const end = offset + byteLengthOf(tensor.type, tensor.dims);
    entries.push([name, { dtype, shape: tensor.dims, data_offsets: [offset, end] }]);
    offset = end;
  }
  const text = new TextEncoder().encode(
    JSON.stringify(Object.fromEntries([[metadataKey, metadata], ...entries])),
  );
  // Readers expect the numbers at a multiple of 8 bytes; a character may take several bytes.
  const json = new Uint8Array(Math.ceil(text.length / 8) * 8).fill(0x20);
  json.set(text);
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
  return [length, json, ...[...tensors.values()].map(({ chunk }) => chunk)];
}

/**
 * Reads a file of the safetensors format. Tensors are views of its bytes.
 * @param where - the file's name, for messages
 * @param kind - what the file should be, for messages
 * @throws SorthError when the file is damaged
 */
export function decodeTensors(
  bytes: Uint8Array,
  where: string,
  kind = "checkpoint",
): { tensors: Map<string, Tensor>; metadata: Record<string, string> } {
  const damaged = (what: string) => new FileError(`${where} is not a ${kind}, or a damaged one (${what})`);
  if (bytes.length < 8) throw damaged("it is too short");
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
  if (length > bytes.length - 8) throw damaged("its header is cut off");
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  } catch (error) {
    throw damaged(messageOf(error));
  }
  if (typeof header !== "object" || header === null) throw damaged("its header is no object");
  const data = bytes.subarray(8 + length);
  const tensors = new Map<string, Tensor>();
  let metadata: Record<string, string> = {};
  const parts = [[data.length, data.length] as const];
  for (const [name, entry] of Object.entries(header)) {
    if (name === metadataKey) {
      metadata = textsIn(entry) ?? damagedPart(damaged, name);
      continue;
    }
    const { dtype, shape, data_offsets } = (entry ?? {}) as Record<string, unknown>;
    const type = ownNames.get(`${dtype}`);
    if (typeof dtype === "string" && !type) throw damaged(`tensor "${name}" has the type ${dtype}`);
    if (!type || !areCounts(shape) || !areCounts(data_offsets)) throw damaged(`tensor "${name}"`);
    const [start = 0, end = 0] = data_offsets;
    if (end > data.length || end - start !== byteLengthOf(type, shape)) throw damaged(`tensor "${name}"`);
    parts.push([start, end]);
    tensors.set(name, Tensor.of(name, type, shape, viewOf(type, data.subarray(start, end))));
  }
  // Two tensors of the same bytes would hold the same numbers. Bytes that belong to no tensor are those of a tensor that is named twice.
  let at = 0;
  for (const [start, end] of parts.sort((a, b) => a[0] - b[0] || a[1] - b[1])) {
    if (start !== at) throw damaged("its tensors overlap, or leave bytes out");
    at = end;
  }
  return { tensors, metadata };
}

const damagedPart = (damaged: (what: string) => Error, name: string): never => {
  throw damaged(`its entry ${name}`);
};

const areCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((one) => Number.isSafeInteger(one) && one >= 0);

/** A table of texts, or undefined for anything else. */
function textsIn(value: unknown): Record<string, string> | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  return Object.values(value).every((text) => typeof text === "string")
    ? (value as Record<string, string>)
    : undefined;
}
