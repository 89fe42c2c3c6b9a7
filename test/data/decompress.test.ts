import { brotliCompressSync, gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { pageDecompressors } from "../../src/data/tables/decompress-node.ts";

const text = Buffer.from(Array.from({ length: 1000 }, (_, i) => Math.round(100 * Math.sin(i))));

/** A frame of Zstandard that says `length / 2¹⁷` times: 2¹⁷ zeros. */
function zstdZeros(length: number, { size, window = 0x38 }: { size?: number; window?: number } = {}): Buffer {
  const blocks = length / 2 ** 17;
  const frame = [0x28, 0xb5, 0x2f, 0xfd, size === undefined ? 0 : 0x80, window];
  if (size !== undefined) frame.push(size & 255, (size >> 8) & 255, (size >> 16) & 255, size >> 24);
  for (let i = 0; i < blocks; i++) {
    const header = ((2 ** 17) << 3) | (1 << 1) | (i === blocks - 1 ? 1 : 0);
    frame.push(header & 255, (header >> 8) & 255, (header >> 16) & 255, 0);
  }
  return Buffer.from(frame);
}

describe("pages of a Parquet file", () => {
  test.each([
    ["GZIP", gzipSync],
    ["BROTLI", brotliCompressSync],
  ] as const)("in %s", (codec, compress) => {
    const { [codec]: decompress } = pageDecompressors;
    expect(Buffer.from(decompress?.(compress(text), text.length) ?? [])).toEqual(text);
    expect(decompress?.(compress(Buffer.alloc(0)), 0)).toHaveLength(0);
    const bomb = compress(Buffer.alloc(2 ** 26));
    expect(bomb.length).toBeLessThan(2 ** 17);
    expect(() => decompress?.(bomb, 1000)).toThrow(/1000 bytes/);
  });

  test("in ZSTD, with a size in the frame or without", () => {
    const { ZSTD: decompress } = pageDecompressors;
    expect(decompress?.(zstdZeros(2 ** 20), 2 ** 20)).toEqual(new Uint8Array(2 ** 20));
    const sized = zstdZeros(2 ** 17, { size: 2 ** 17 });
    expect(decompress?.(sized, 2 ** 17)).toEqual(new Uint8Array(2 ** 17));
    for (const length of [1000, 2 ** 18])
      expect(() => decompress?.(sized, length)).toThrow(/of 131072 bytes/);
    expect(() => decompress?.(zstdZeros(2 ** 20), 2 ** 21)).toThrow(/of 1048576 bytes in place of 2097152/);
    expect(() => decompress?.(zstdZeros(2 ** 17, { window: 0xa0 }), 2 ** 17)).toThrow(
      /needs 1073741824 bytes/,
    );
    expect(() => decompress?.(Buffer.concat([sized, sized]), 2 ** 17)).toThrow(/several frames/);
    expect(() => decompress?.(sized.subarray(0, -1), 2 ** 17)).toThrow(/damaged/);
    const before = process.memoryUsage().rss;
    expect(() => decompress?.(zstdZeros(2 ** 33), 2 ** 20)).toThrow(/more than 1048576 bytes/);
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 27);
  });

  test.each(Object.keys(pageDecompressors))("without any bytes in %s", (codec) => {
    // The token of an empty block of LZ4, which columns without any value have.
    expect(pageDecompressors[codec as "LZ4_RAW"]?.(Uint8Array.of(0), 0)).toHaveLength(0);
  });
});
