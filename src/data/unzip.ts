import { gunzipSync, inflateSync } from "fflate";
import { FileError } from "../errors.ts";
import { crc32 } from "../onnx/crc32.ts";

/** Bytes that an archive may unpack to, however small it is. */
const mostBytes = 2 ** 29;
/** A larger archive may unpack to this many times its own size. */
const mostTimes = 50;

/** @throws SorthError for more than a file of real data unpacks to: archives of a few kilobytes can hold terabytes of zeros */
function checkUnpacked(size: number, packed: number): void {
  if (size <= Math.max(mostBytes, mostTimes * packed)) return;
  throw new FileError(
    `its ${packed} bytes unpack to ${size} or more, which real data does not; save it without compression`,
  );
}

const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength);

/** @throws SorthError when content is not what its checksum says */
function checked(content: Uint8Array, checksum: number): Uint8Array {
  if (crc32(content) === checksum) return content;
  throw new FileError("its content is damaged");
}

/**
 * The files of a zip archive, by name, as its directory lists them.
 * @throws Error for a damaged archive, for one that holds a name twice, and for one that unpacks to far more than its size
 */
export function unzip(bytes: Uint8Array): Map<string, Uint8Array> {
  const view = viewOf(bytes);
  const short = (at: number) => view.getUint16(at, true);
  const long = (at: number) => view.getUint32(at, true);
  const files = new Map<string, Uint8Array>();
  let end = bytes.length - 22;
  while (end >= 0 && long(end) !== 0x06054b50) end--;
  if (end < 0) throw new FileError("it has no directory");
  let total = 0;
  let at = long(end + 16);
  for (let entry = 0; entry < short(end + 10); entry++) {
    if (long(at) !== 0x02014b50) throw new FileError("its directory is damaged");
    const [packed, size, place] = [long(at + 20), long(at + 24), long(at + 42)];
    const next = at + 46 + short(at + 28);
    const name = new TextDecoder().decode(bytes.subarray(at + 46, next));
    if (files.has(name)) throw new FileError(`it holds "${name}" twice`);
    total += size;
    checkUnpacked(total, bytes.length);
    const start = place + 30 + short(place + 26) + short(place + 28);
    const data = bytes.subarray(start, start + packed);
    // A copy: elements of an array are read from whole addresses.
    const content =
      short(at + 10) === 0 ? new Uint8Array(data) : inflateSync(data, { out: new Uint8Array(size) });
    files.set(name, checked(content, long(at + 16)));
    at = next + short(at + 30) + short(at + 32);
  }
  return files;
}

/** The content of a gzip file. @throws Error for a damaged file, and for one that unpacks to far more than its size */
export function gunzip(bytes: Uint8Array): Uint8Array {
  const end = viewOf(bytes.subarray(-8));
  checkUnpacked(end.getUint32(4, true), bytes.length);
  return checked(gunzipSync(bytes), end.getUint32(0, true));
}
