import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { Decompress } from "fzstd";
import type { Compressors } from "hyparquet";
import { compressors } from "hyparquet-compressors";

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

/** @throws Error once there is more than the page states */
function zstd(page: Uint8Array, length: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let done = 0;
  const stream = new Decompress((part) => {
    done += part.length;
    if (done > length) throw new Error(`a page is longer than the ${length} bytes that it states`);
    parts.push(part.slice());
  });
  stream.push(page, true);
  const [only, another] = parts;
  return only && !another ? only : Buffer.concat(parts);
}
