/** A checksum of 32 bits, reflected, for a generator polynomial in that bit order; `before` is that of the bytes in front. */
export function crcOf(polynomial: number): (bytes: Uint8Array, before?: number) => number {
  const table = Uint32Array.from({ length: 256 }, (_, index) => {
    let value = index;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1;
    return value;
  });
  return (bytes, before = 0) => {
    let crc = before ^ 0xffffffff;
    for (const byte of bytes) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 0xff] as number);
    return (crc ^ 0xffffffff) >>> 0;
  };
}

/** The CRC-32 checksum of bytes, as used in zip files. */
export const crc32 = /* @__PURE__ */ crcOf(0xedb88320);
