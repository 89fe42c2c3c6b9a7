import { bytesField, concatBytes, equalBytes, fieldRecords, nodeFields, wireTypes } from "../onnx/wire.ts";

const encoder = new TextEncoder();

/**
 * Renames one value among the inputs and outputs in a node's message. Works on the bytes, so that other names, valid UTF-8 or
 * not, and unknown fields stay unchanged.
 */
export function renameInNode(message: Uint8Array, from: string, to: string): Uint8Array {
  const [old, renamed] = [encoder.encode(from), encoder.encode(to)];
  const pieces = fieldRecords(message).map(({ field, wireType, start, payload, end }) => {
    const isName =
      wireType === wireTypes.bytes && (field === nodeFields.input || field === nodeFields.output);
    if (!isName || !equalBytes(message.subarray(payload, end), old)) return message.subarray(start, end);
    return bytesField(field, renamed);
  });
  return concatBytes(pieces);
}
