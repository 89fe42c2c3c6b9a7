import { inflateSync } from "node:zlib";
import { expect, test } from "vitest";
import { crc32 } from "../../src/onnx/crc32.ts";
import { pngOf } from "../../src/report/png.ts";

/** The chunks of a PNG file: name and content, their checksums compared. */
function chunksOf(file: Uint8Array): Map<string, Uint8Array> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const chunks = new Map<string, Uint8Array>();
  for (let at = 8; at < file.length; ) {
    const length = view.getUint32(at);
    const name = new TextDecoder().decode(file.subarray(at + 4, at + 8));
    expect(view.getUint32(at + 8 + length)).toBe(crc32(file.subarray(at + 4, at + 8 + length)));
    chunks.set(name, file.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  return chunks;
}

test.each([
  [2, 3, 1],
  [1, 1, 3],
  [200, 200, 3],
] as const)("pixels of %d × %d with %d channels come back from a decoder", (height, width, channels) => {
  const pixels = Uint8Array.from({ length: height * width * channels }, (_, i) => (i * 31) % 256);
  const file = pngOf(pixels, { height, width, channels });
  expect([...file.subarray(1, 4)].map((code) => String.fromCharCode(code)).join("")).toBe("PNG");
  const chunks = chunksOf(file);
  expect([...chunks.keys()]).toEqual(["IHDR", "IDAT", "IEND"]);
  // Node's own zlib checks the stream's checksum.
  const lines = inflateSync(chunks.get("IDAT") ?? new Uint8Array());
  const row = width * channels;
  for (let y = 0; y < height; y++) {
    expect(lines[y * (row + 1)]).toBe(0);
    expect([...lines.subarray(y * (row + 1) + 1, (y + 1) * (row + 1))]).toEqual([
      ...pixels.subarray(y * row, (y + 1) * row),
    ]);
  }
});
