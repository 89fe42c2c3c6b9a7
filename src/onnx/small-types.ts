import type { DataTypeName } from "./data-types.ts";

/** Layout of a small float type: sign, exponent and fraction, from the high bit down. */
interface FloatLayout {
  readonly signed: boolean;
  readonly exponentBits: number;
  readonly fractionBits: number;
  readonly bias: number;
  /** The meaning of the highest exponent and of the bits of −0. */
  readonly special: "ieee" | "nan only" | "nan is minus zero" | "none";
}

const half: FloatLayout = { signed: true, exponentBits: 5, fractionBits: 10, bias: 15, special: "ieee" };

const floats: Partial<Record<DataTypeName, FloatLayout>> = {
  float16: half,
  bfloat16: { signed: true, exponentBits: 8, fractionBits: 7, bias: 127, special: "ieee" },
  float8e4m3fn: { signed: true, exponentBits: 4, fractionBits: 3, bias: 7, special: "nan only" },
  float8e4m3fnuz: { signed: true, exponentBits: 4, fractionBits: 3, bias: 8, special: "nan is minus zero" },
  float8e5m2: { signed: true, exponentBits: 5, fractionBits: 2, bias: 15, special: "ieee" },
  float8e5m2fnuz: { signed: true, exponentBits: 5, fractionBits: 2, bias: 16, special: "nan is minus zero" },
  float8e8m0: { signed: false, exponentBits: 8, fractionBits: 0, bias: 127, special: "nan only" },
  float4e2m1: { signed: true, exponentBits: 2, fractionBits: 1, bias: 1, special: "none" },
};

/** Bits and sign of integer types of which a byte holds several. */
const packedIntegers: Partial<Record<DataTypeName, { bits: number; signed: boolean }>> = {
  uint4: { bits: 4, signed: false },
  int4: { bits: 4, signed: true },
  uint2: { bits: 2, signed: false },
  int2: { bits: 2, signed: true },
};

/**
 * Decodes types for which JavaScript has no array (half, 8-, 4- and 2-bit types) from their stored bits: 16-bit words, or
 * bytes whose packed elements start at the low bits. Undefined for any other type.
 */
export function decodedNumbers(
  type: DataTypeName,
  stored: ArrayLike<number>,
  count: number,
): number[] | undefined {
  const integer = packedIntegers[type];
  const layout = floats[type];
  if (integer) {
    const { bits, signed } = integer;
    const limit = 2 ** (bits - 1);
    return unpacked(stored, count, bits).map((value) =>
      signed && value >= limit ? value - 2 * limit : value,
    );
  }
  if (!layout) return undefined;
  const words = type === "float4e2m1" ? unpacked(stored, count, 4) : Array.from(stored);
  return words.map((bits) => floatOfBits(bits, layout));
}

/** Unpacks elements of `bits` bits; the first element is in the low bits of its byte. */
function unpacked(bytes: ArrayLike<number>, count: number, bits: number): number[] {
  const perByte = 8 / bits;
  return Array.from({ length: count }, (_, index) => {
    const byte = bytes[Math.floor(index / perByte)] ?? 0;
    return (byte >> ((index % perByte) * bits)) & (2 ** bits - 1);
  });
}

function floatOfBits(bits: number, layout: FloatLayout): number {
  const { signed, exponentBits, fractionBits, bias, special } = layout;
  const exponent = (bits >> fractionBits) & (2 ** exponentBits - 1);
  const fraction = bits & (2 ** fractionBits - 1);
  const negative = signed && bits >> (exponentBits + fractionBits) !== 0;
  const highest = exponent === 2 ** exponentBits - 1;
  if (special === "nan is minus zero" && negative && exponent === 0 && fraction === 0) return Number.NaN;
  if (special === "nan only" && highest && fraction === 2 ** fractionBits - 1) return Number.NaN;
  const sign = negative ? -1 : 1;
  if (special === "ieee" && highest) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  // An unsigned type (float8e8m0) has only powers of two: no zero and no subnormal numbers.
  if (exponent === 0 && signed) return (sign * fraction * 2 ** (1 - bias)) / 2 ** fractionBits;
  return sign * (1 + fraction / 2 ** fractionBits) * 2 ** (exponent - bias);
}

/** The number that the 16 bits of an IEEE half encode. */
export const float16ToNumber = (bits: number): number => floatOfBits(bits, half);

/** The 16 bits of the IEEE half nearest to a number; ties round to even, and numbers that are too large become infinite. */
export function numberToFloat16(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  if (magnitude < 2 ** -25) return sign;
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), -14);
  // In units of the last place. A carry into the exponent gives the right result.
  const units = roundHalfToEven(magnitude / 2 ** (exponent - 10));
  return sign | (units + (exponent + 14) * 1024);
}

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/** The 16 bits of the bfloat16 nearest to a float32 number; ties round to even. */
export function numberToBfloat16(value: number): number {
  if (Number.isNaN(value)) return 0x7fc0;
  single[0] = value;
  const [bits = 0] = singleBits;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return below + (rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? 1 : 0);
}
