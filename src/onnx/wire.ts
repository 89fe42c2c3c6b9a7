import { FileError, type SorthError } from "../errors.ts";

/** Field numbers of the messages that are edited record by record (ModelProto, GraphProto). */
export const modelFields = { graph: 7, metadataProps: 14 } as const;
export const graphFields = { node: 1, initializer: 5, input: 11, output: 12, valueInfo: 13 } as const;
export const nodeFields = { input: 1, output: 2 } as const;
export const tensorFields = { rawData: 9 } as const;

/** Wire types of protobuf. */
export const wireTypes = { varint: 0, fixed64: 1, bytes: 2, groupStart: 3, groupEnd: 4, fixed32: 5 } as const;

/** One field of a message as stored in the file: tag, length (if any) and payload, as offsets into the bytes. */
export interface FieldRecord {
  readonly field: number;
  readonly wireType: number;
  readonly start: number;
  readonly payload: number;
  readonly end: number;
}

/** The error for bytes that are no message. */
export const damaged = (offset: number): SorthError =>
  new FileError(`not an ONNX model, or a truncated one (damaged at byte ${offset})`);

/** Reads a varint (base 128); encoders may pad it with extra bytes. */
function readVarint(bytes: Uint8Array, start: number, limit: number): { value: number; end: number } {
  let value = 0;
  for (let offset = start; offset < Math.min(limit, start + 10); offset++) {
    const byte = bytes[offset] ?? 0;
    value += (byte & 0x7f) * 2 ** (7 * (offset - start));
    if (byte < 0x80) return { value, end: offset + 1 };
  }
  throw damaged(start);
}

/** Reads the field that starts at `start`; a group ends after its end tag. */
function readRecord(bytes: Uint8Array, start: number, limit: number): FieldRecord {
  const tag = readVarint(bytes, start, limit);
  const field = Math.floor(tag.value / 8);
  const wireType = tag.value % 8;
  let payload = tag.end;
  let end: number;
  switch (wireType) {
    case wireTypes.varint:
      end = readVarint(bytes, payload, limit).end;
      break;
    case wireTypes.fixed64:
      end = payload + 8;
      break;
    case wireTypes.fixed32:
      end = payload + 4;
      break;
    case wireTypes.bytes: {
      const length = readVarint(bytes, payload, limit);
      payload = length.end;
      end = payload + length.value;
      break;
    }
    case wireTypes.groupStart:
      end = groupEnd(bytes, payload, limit, field);
      break;
    default:
      throw damaged(start);
  }
  if (field === 0 || end > limit) throw damaged(start);
  return { field, wireType, start, payload, end };
}

/** The field that starts at `start`, whose payload may lie beyond the bytes; undefined for a group. */
export function recordAt(bytes: Uint8Array, start: number): FieldRecord | undefined {
  const tag = readVarint(bytes, start, bytes.length);
  if (tag.value % 8 === wireTypes.groupStart) return undefined;
  return readRecord(bytes, start, Number.POSITIVE_INFINITY);
}

function groupEnd(bytes: Uint8Array, start: number, limit: number, field: number): number {
  const open = [field];
  let offset = start;
  while (offset < limit) {
    const tag = readVarint(bytes, offset, limit);
    const wireType = tag.value % 8;
    if (wireType === wireTypes.groupStart) {
      open.push(Math.floor(tag.value / 8));
      offset = tag.end;
    } else if (wireType === wireTypes.groupEnd) {
      if (open.pop() !== Math.floor(tag.value / 8)) throw damaged(offset);
      offset = tag.end;
      if (open.length === 0) return offset;
    } else offset = readRecord(bytes, offset, limit).end;
  }
  throw damaged(start);
}

/**
 * The fields of a message in file order, without decoding their payloads.
 * @throws SorthError when the bytes are not a message
 */
export function fieldRecords(bytes: Uint8Array, start = 0, end = bytes.length): FieldRecord[] {
  const records: FieldRecord[] = [];
  for (let offset = start; offset < end; ) {
    const record = readRecord(bytes, offset, end);
    records.push(record);
    offset = record.end;
  }
  return records;
}

/** Encodes a number as a varint (base 128), padded to at least `width` bytes. */
export function varint(value: number, width = 0): Uint8Array {
  const digits: number[] = [];
  let rest = value;
  do {
    digits.push(rest % 128);
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  while (digits.length < width) digits.push(0);
  return Uint8Array.from(digits, (digit, index) => (index < digits.length - 1 ? digit + 128 : digit));
}

/** A field that holds bytes: tag, length, payload. */
export function bytesField(field: number, payload: Uint8Array): Uint8Array {
  return concatBytes([varint(field * 8 + wireTypes.bytes), varint(payload.length), payload]);
}

export function concatBytes(pieces: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let offset = 0;
  for (const piece of pieces) {
    joined.set(piece, offset);
    offset += piece.length;
  }
  return joined;
}

/** Whether two byte strings are the same. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  // A plain loop, because files of a gigabyte are compared.
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
