/** The bits of a number of this class, or of the class of the package `long`. */
type Bits = Pick<Long, "low" | "high" | "unsigned">;

/**
 * A 64-bit integer of a protobuf message, in browsers: what protobufjs and this package use of the package `long`, over BigInt.
 * The build for browsers takes it in the place of `long`, whose arithmetic nothing here uses.
 */
export default class Long {
  /** The mark by which protobufjs and `long` recognize such numbers. */
  readonly __isLong__ = true;
  /** The lower 32 bits, signed. */
  readonly low: number;
  /** The upper 32 bits, signed. */
  readonly high: number;
  readonly unsigned: boolean;

  constructor(low: number, high = 0, unsigned = false) {
    this.low = low | 0;
    this.high = high | 0;
    this.unsigned = unsigned;
  }

  static isLong(value: unknown): value is Long {
    return (value as Partial<Long> | undefined)?.__isLong__ === true;
  }

  static fromBits(low: number, high: number, unsigned?: boolean): Long {
    return new Long(low, high, unsigned);
  }

  static fromBigInt(value: bigint, unsigned?: boolean): Long {
    return new Long(Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n)), unsigned);
  }

  /** @param value - its fraction is dropped; NaN is 0, and numbers out of range become the nearest end, as in `long` */
  static fromNumber(value: number, unsigned = false): Long {
    const [least, most] = unsigned ? [0n, 2n ** 64n - 1n] : [-(2n ** 63n), 2n ** 63n - 1n];
    if (Number.isNaN(value)) return new Long(0, 0, unsigned);
    if (value <= Number(least)) return Long.fromBigInt(least, unsigned);
    if (value >= Number(most)) return Long.fromBigInt(most, unsigned);
    return Long.fromBigInt(BigInt(Math.trunc(value)), unsigned);
  }

  static fromString(text: string, unsigned?: boolean): Long {
    return Long.fromBigInt(BigInt(text), unsigned);
  }

  static fromValue(value: Bits | number | string | bigint, unsigned?: boolean): Long {
    if (typeof value === "number") return Long.fromNumber(value, unsigned);
    if (typeof value === "string") return Long.fromString(value, unsigned);
    if (typeof value === "bigint") return Long.fromBigInt(value, unsigned);
    return new Long(value.low, value.high, unsigned ?? value.unsigned);
  }

  toBigInt(): bigint {
    const bits = (BigInt(this.high) << 32n) | BigInt(this.low >>> 0);
    return this.unsigned ? BigInt.asUintN(64, bits) : bits;
  }

  toNumber(): number {
    return Number(this.toBigInt());
  }

  toString(radix?: number): string {
    return this.toBigInt().toString(radix);
  }

  equals(other: Bits | number | string | bigint): boolean {
    return this.toBigInt() === Long.fromValue(other).toBigInt();
  }
}
