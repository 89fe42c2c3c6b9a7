import { crc32 } from "../onnx/crc32.ts";
import { type Hash, learnChecksum } from "./checksum.ts";

/** The kind of checksum that the Python workers of a distributed run write: theirs is quick in NumPy. */
export const crcKind = "crc32";

/** Lets the data of a run that Python workers wrote be compared by their checksum. */
export const learnCrc = (): void => learnChecksum(crcKind, () => new Crc());

/** CRC-32 of the doubles, little-endian. */
class Crc implements Hash {
  #crc = 0;

  add(numbers: Float64Array): void {
    this.#crc = crc32(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength), this.#crc);
  }

  get text(): string {
    return `${crcKind}:${this.#crc.toString(16).padStart(8, "0")}`;
  }
}
