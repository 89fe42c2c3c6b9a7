import { messageOf, SorthError } from "../errors.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
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
const ownNames = new Map(Object.entries(formatNames).map(([own, theirs]) => [theirs, own as DataTypeName]));

/**
 * Writes named tensors as a file of the safetensors format: 8 bytes of header length, a JSON header, the numbers.
 * The numbers are views, not copies: the pieces are to be written one after the other.
 *
 * @param metadata - texts kept in the header
 */
export function encodeTensors(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>>,
): Uint8Array[] {
  let offset = 0;
  const header: Record<string, unknown> = { __metadata__: metadata };
  for (const [name, tensor] of tensors) {
    const dtype = formatNames[tensor.type];
    if (!dtype) throw new SorthError(`"${name}" is ${tensor.type}, which a checkpoint cannot hold`);
    const end = offset + byteLengthOf(tensor.type, tensor.dims);
    header[name] = { dtype, shape: tensor.dims, data_offsets: [offset, end] };
    offset = end;
  }
  const text = JSON.stringify(header);
  const json = new TextEncoder().encode(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
  return [length, json, ...[...tensors.values()].map(({ bytes }) => bytes)];
}

/**
 * Reads a file of the safetensors format. Tensors are views of its bytes.
 * @param where - the file's name, for messages
 * @throws SorthError when the file is damaged
 */
export function decodeTensors(
  bytes: Uint8Array,
  where: string,
): { tensors: Map<string, Tensor>; metadata: Record<string, string> } {
  const damaged = (what: string) =>
    new SorthError(`${where} is not a checkpoint, or a damaged one (${what})`);
  if (bytes.length < 8) throw damaged("it is too short");
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
  if (length > bytes.length - 8) throw damaged("its header is cut off");
  let header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  } catch (error) {
    throw damaged(messageOf(error));
  }
  const { __metadata__: metadata, ...entries } = header as typeof header & { __metadata__?: unknown };
  const data = bytes.subarray(8 + length);
  const tensors = new Map<string, Tensor>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(entries)) {
    const type = ownNames.get(dtype);
    const [start, end] = data_offsets;
    if (!type || end > data.length || end - start !== byteLengthOf(type, shape))
      throw damaged(`tensor "${name}"`);
    tensors.set(name, Tensor.of(name, type, shape, viewOf(type, data.subarray(start, end))));
  }
  return { tensors, metadata: (metadata ?? {}) as Record<string, string> };
}
