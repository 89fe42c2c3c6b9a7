import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { Decompress, decompress } from "fzstd";
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

/** The largest window of the highest level of compression; a frame without its own size needs memory for it. */
const mostWindow = 2 ** 27;

/**
 * Decompresses a page that one frame of Zstandard makes up, as writers of Parquet write it (RFC 8878). fzstd takes as much memory as
 * a frame says that it needs, which a damaged one may say wrongly.
 * @param length - the length of the result, as the page states it
 * @throws Error for another length, and for a frame that is damaged
 */
function zstd(page: Uint8Array, length: number): Uint8Array {
  const { size, window } = frameOf(page);
  if (size !== undefined) {
    if (size !== length) throw new Error(`a page of ${size} bytes in place of ${length}`);
    return decompress(page, new Uint8Array(length));
  }
  if (window > mostWindow) throw new Error(`a page that needs ${window} bytes to be decompressed`);
  const result = new Uint8Array(length);
  let done = 0;
  const stream = new Decompress((part) => {
    if (part.length > length - done) throw new Error(`a page of more than ${length} bytes`);
    result.set(part, done);
    done += part.length;
  });
  stream.push(page, true);
  if (done < length) throw new Error(`a page of ${done} bytes in place of ${length}`);
  return result;
}

/** What the head of a frame says of its size, if it does, and of the memory that it needs. @throws Error for more than one frame */
function frameOf(page: Uint8Array): { readonly size: number | undefined; readonly window: number } {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  if (view.getUint32(0, true) !== 0xfd2fb528) throw new Error("a page that is not of Zstandard");
  const flags = view.getUint8(4);
  const isSingle = (flags & 32) !== 0;
  const exponent = isSingle ? 0 : view.getUint8(5);
  let offset = (isSingle ? 5 : 6) + ([0, 1, 2, 4][flags & 3] ?? 0);
  const bytes = [isSingle ? 1 : 0, 2, 4, 8][flags >> 6] ?? 0;
  const size = sizeAt(view, offset, bytes);
  offset += bytes;
  for (let isLast = false; !isLast; ) {
    const head = view.getUint16(offset, true) | (view.getUint8(offset + 2) << 16);
    isLast = (head & 1) === 1;
    const isRepeated = ((head >> 1) & 3) === 1;
    offset += 3 + (isRepeated ? 1 : head >> 3);
  }
  const end = offset + ((flags & 4) === 0 ? 0 : 4);
  if (end !== page.length) throw new Error("a page of several frames of Zstandard, or a damaged one");
  const base = 2 ** (10 + (exponent >> 3));
  return { size, window: isSingle ? (size ?? 0) : base + (base / 8) * (exponent & 7) };
}

function sizeAt(view: DataView, offset: number, bytes: number): number | undefined {
  if (bytes === 0) return undefined;
  if (bytes === 1) return view.getUint8(offset);
  if (bytes === 2) return view.getUint16(offset, true) + 256;
  return bytes === 4 ? view.getUint32(offset, true) : Number(view.getBigUint64(offset, true));
}
