import { bytesField, type FieldRecord, fieldRecords, varint, wireTypes } from "../../../src/onnx/wire.ts";
import type { Chance } from "../chance.ts";
import { changedBytes, hostileNumbers } from "./bytes.ts";

/** A varint of any length, of negative numbers too; sometimes longer than it need be. */
function hostileVarint(chance: Chance): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(chance.pick(hostileNumbers)));
  const bytes: number[] = [];
  do {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  } while (rest > 0n);
  if (chance.once(8)) bytes.push(...Array<number>(chance.below(10)).fill(0x80));
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) & 0x7f;
  return Uint8Array.from(bytes);
}

function recordsOf(bytes: Uint8Array): FieldRecord[] | undefined {
  try {
    return fieldRecords(bytes);
  } catch {
    return undefined;
  }
}

const key = (field: number, type: number): Uint8Array => varint(field * 8 + type);

/**
 * A protobuf message with one record changed, at any depth: removed, repeated, moved, renumbered, given another type, another
 * length or another payload. What lies around it stays sound.
 */
export function changedRecords(bytes: Uint8Array, chance: Chance, depth = 0): Uint8Array {
  const records = recordsOf(bytes);
  if (!records || records.length === 0) return changedBytes(bytes, chance);
  const at = chance.below(records.length);
  const record = records[at] as FieldRecord;
  const whole = ({ start, end }: FieldRecord) => bytes.subarray(start, end);
  const payload = bytes.subarray(record.payload, record.end);
  const around = (...pieces: readonly Uint8Array[]) =>
    Buffer.concat([bytes.subarray(0, record.start), ...pieces, bytes.subarray(record.end)]);
  const isNested = whole(record)[0] !== undefined && ((whole(record)[0] as number) & 7) === wireTypes.bytes;
  if (isNested && depth < 8 && payload.length > 0 && !chance.once(4)) {
    return around(bytesField(record.field, changedRecords(payload, chance, depth + 1)));
  }
  const other = records[chance.below(records.length)] as FieldRecord;
  const changes: readonly (() => Uint8Array)[] = [
    () => around(),
    () => around(whole(record), whole(record)),
    () => around(...Array<Uint8Array>(1 + chance.below(50)).fill(whole(record))),
    () => around(whole(other)),
    () => around(bytesField(chance.pick([record.field + 1, 1, 2, 5, 7, 14, 20, 536_870_911]), payload)),
    () => around(key(record.field, wireTypes.varint), hostileVarint(chance)),
    () => around(key(record.field, wireTypes.bytes), hostileVarint(chance), payload),
    () => around(key(record.field, chance.pick([1, 3, 4, 5, 6, 7])), payload),
    () => around(bytesField(record.field, changedBytes(payload, chance))),
    () => around(bytesField(record.field, chance.bytes(chance.below(40)))),
    () => around(bytesField(record.field, Uint8Array.of())),
  ];
  return chance.pick(changes)();
}
