import { brotliDecompressSync, gunzipSync } from "node:zlib";
import type { Compressors } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { zstd } from "./zstd-node.ts";

/** Decompresses a page. @param length - its length, as its header states */
type PageDecompressor = (page: Uint8Array, length: number) => Uint8Array;

/**
 * How the pages of a Parquet file are decompressed: never beyond the length that a page states, whatever its bytes say. Brotli
 * and gzip are Node's own, which take a limit and are written for damaged bytes. Pages of no bytes, as columns without any value
 * have them, are not decompressed: the LZ4 of hyparquet-compressors refuses them.
 */
export const pageDecompressors: Compressors = Object.fromEntries(
  Object.entries({
    ...compressors,
    GZIP: (page, length) => gunzipSync(page, { maxOutputLength: length }),
    BROTLI: (page, length) => brotliDecompressSync(page, { maxOutputLength: length }),
    ZSTD: zstd,
  } satisfies Record<string, PageDecompressor>).map(([codec, decompress]: [string, PageDecompressor]) => [
    codec,
    (page: Uint8Array, length: number) => (length === 0 ? new Uint8Array() : decompress(page, length)),
  ]),
);
