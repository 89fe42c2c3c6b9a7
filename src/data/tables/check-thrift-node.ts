import type { parquetHeader } from "hyparquet/src/column.js";
import { readVarInt, readZigZag, readZigZagBigInt } from "hyparquet/src/thrift.js";

/** Where bytes are read. */
export type Reader = Parameters<typeof parquetHeader>[0];

/** Types of Thrift's compact protocol, and how each is passed over; those of one byte or none are left out. */
const list = 9;
const struct = 12;
const passOver: Readonly<Record<number, (reader: Reader) => void>> = {
  4: readZigZag,
  5: readZigZag,
  6: readZigZagBigInt,
  7: (reader) => move(reader, 8),
  8: (reader) => move(reader, readVarInt(reader)),
  [list]: passList,
  [struct]: checkThrift,
};
/** True and false have their bytes in the type. */
const bytesOfSmall: Readonly<Record<number, number>> = { 1: 0, 2: 0, 3: 1 };

/**
 * Passes over a structure of Thrift, as footers and page headers of Parquet are. hyparquet makes an array of any length that a list
 * states before it reads the list's elements.
 * @throws Error for a list of more elements than there are bytes, and for what hyparquet does not read
 */
export function checkThrift(reader: Reader): void {
  for (;;) {
    const head = reader.view.getUint8(reader.offset++);
    const type = head & 15;
    if (type === 0) return;
    if (head < 16) readZigZag(reader);
    passElement(reader, type);
  }
}

function passElement(reader: Reader, type: number): void {
  const pass = passOver[type];
  if (pass) pass(reader);
  else if (bytesOfSmall[type] !== undefined) move(reader, bytesOfSmall[type]);
  else throw new Error(`a value of the type ${type}`);
}

function passList(reader: Reader): void {
  const head = reader.view.getUint8(reader.offset++);
  const length = head >> 4 === 15 ? readVarInt(reader) : head >> 4;
  const type = head & 15;
  const left = reader.view.byteLength - reader.offset;
  if (length < 0 || length > left) throw new Error(`a list of ${length} elements in ${left} bytes`);
  // Truths in a list have a byte each.
  for (let i = 0; i < length; i++) passElement(reader, type === 1 || type === 2 ? 3 : type);
}

/** @throws Error where the bytes end */
function move(reader: Reader, length: number): void {
  const left = reader.view.byteLength - reader.offset;
  if (length < 0 || length > left) throw new Error(`a value of ${length} bytes in ${left}`);
  reader.offset += length;
}
