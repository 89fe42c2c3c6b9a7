import type { Chance } from "../chance.ts";

/** Whole numbers at which programs fail: around powers of two, signs, and the ends of types. */
export const hostileNumbers: readonly number[] = [
  ...[0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 65_535, 65_536],
  ...[-1, -2, -128, -65_536, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), 2 ** 32 - 1, 2 ** 32],
  ...[2 ** 40, 2 ** 53 - 1, -(2 ** 53) + 1],
];

const joined = (...parts: readonly Uint8Array[]): Uint8Array => Buffer.concat(parts);

/** Changes of bytes that know nothing of the format: flipped bits, overwritten, removed and repeated stretches, a cut. */
const changes: readonly ((bytes: Uint8Array, chance: Chance) => Uint8Array)[] = [
  (bytes, chance) => {
    const copy = bytes.slice();
    for (let i = 0; i <= chance.below(4); i++) {
      const at = chance.below(copy.length);
      copy[at] = (copy[at] ?? 0) ^ (1 << chance.below(8));
    }
    return copy;
  },
  (bytes, chance) => {
    const copy = bytes.slice();
    copy.set(chance.bytes(Math.min(copy.length, chance.length(16))));
    const at = chance.below(copy.length);
    copy.fill(chance.pick([0, 0xff, 0x80, 0x7f]), at, at + chance.length(64));
    return copy;
  },
  (bytes, chance) => bytes.slice(0, chance.below(bytes.length)),
  (bytes, chance) => {
    const at = chance.below(bytes.length);
    return joined(bytes.subarray(0, at), bytes.subarray(at + chance.length(bytes.length - at)));
  },
  (bytes, chance) => {
    const at = chance.below(bytes.length);
    const from = chance.below(bytes.length);
    const piece = bytes.subarray(from, from + chance.length(bytes.length - from));
    return joined(bytes.subarray(0, at), piece, bytes.subarray(at));
  },
  (bytes, chance) => {
    const copy = bytes.slice();
    if (copy.length < 8) return copy;
    const view = new DataView(copy.buffer, copy.byteOffset, copy.byteLength);
    const number = chance.pick(hostileNumbers);
    if (chance.once(2)) view.setInt32(chance.below(copy.length - 3), number, true);
    else view.setBigInt64(chance.below(copy.length - 7), BigInt(number), true);
    return copy;
  },
];

/** The bytes with one change, or a few. */
export function changedBytes(bytes: Uint8Array, chance: Chance): Uint8Array {
  // Buffers share what they slice.
  let changed = Uint8Array.from(bytes);
  for (let i = 0; i <= chance.below(chance.pick([1, 1, 1, 4])); i++)
    changed = Uint8Array.from(chance.pick(changes)(changed, chance));
  return changed;
}
