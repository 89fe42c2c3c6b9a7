import { expect, it } from "vitest";
import { joinedFile } from "../../src/onnx/made-files.ts";
import { type Chunk, sameContents } from "../../src/onnx/stored.ts";

/** Bytes cut at some places; every other piece lies in a file. */
function cut(bytes: Uint8Array, places: readonly number[]): Chunk[] {
  const ends = [...places, bytes.length];
  return ends.map((end, i): Chunk => {
    const piece = bytes.subarray(ends[i - 1] ?? 0, end);
    return i % 2 === 0 ? piece : { file: joinedFile([piece]), start: 0, end: piece.length };
  });
}

it("pieces hold the same bytes however they are cut, and one other byte or length is seen", () => {
  const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i * 7);
  const whole = cut(bytes, []);
  for (const places of [[1], [500, 500, 999], [3, 100, 101, 1000]]) {
    expect(sameContents(cut(bytes, places), whole)).toBe(true);
    expect(sameContents(whole, cut(bytes, places))).toBe(true);
    for (const at of [0, 100, 500, 999]) {
      const other = bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));
      expect(sameContents(cut(other, places), whole)).toBe(false);
    }
  }
  expect(sameContents(cut(bytes.subarray(1), [5]), whole)).toBe(false);
  expect(sameContents([], [])).toBe(true);
  expect(sameContents(cut(bytes.subarray(0, 0), [0]), [])).toBe(true);
});
