import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseNpy } from "../../src/data/npy.ts";
import { SorthError } from "../../src/errors.ts";
import { npyBytes } from "./npy-bytes.ts";

const matrix = npyBytes({ descr: "<f4", shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) });

describe("parseNpy", () => {
  test.each([
    ["|b1", Uint8Array.of(1, 0, 1)],
    ["|u1", Uint8Array.of(1, 0, 255)],
    ["|i1", Int8Array.of(1, 0, -128)],
    ["<u2", Uint16Array.of(1, 0, 65535)],
    ["<i2", Int16Array.of(1, 0, -32768)],
    ["<u4", Uint32Array.of(1, 0, 2 ** 32 - 1)],
    ["<i4", Int32Array.of(1, 0, -(2 ** 31))],
    ["<i8", BigInt64Array.of(1n, 0n, -(2n ** 63n))],
    ["<u8", BigUint64Array.of(1n, 0n, 2n ** 64n - 1n)],
    ["<f4", Float32Array.of(1.5, 0, -3e38)],
    ["<f8", Float64Array.of(1.5, 0, -3e300)],
  ])("reads %s", (descr, data) => {
    for (const version of [1, 2] as const) {
      const bytes = npyBytes({ descr, shape: [3], data, version });
      expect(parseNpy(bytes, "a")).toMatchObject({ shape: [3], data });
      // Small Buffers share one ArrayBuffer.
      expect(parseNpy(Buffer.from(bytes), "a")).toMatchObject({ shape: [3], data });
    }
  });

  test("reads big-endian numbers and halves", () => {
    const big = Uint8Array.of(0x3f, 0x80, 0, 0, 0xc0, 0x20, 0, 0);
    expect(parseNpy(npyBytes({ descr: ">f4", shape: [2], data: big }), "a").data).toEqual(
      Float32Array.of(1, -2.5),
    );
    const half = Uint16Array.of(0x3c00, 0xc100);
    expect(parseNpy(npyBytes({ descr: "<f2", shape: [2], data: half }), "a").data).toEqual(
      Float32Array.of(1, -2.5),
    );
  });

  test("puts Fortran order in C order", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }), (shape) => {
        const size = shape.reduce((product, dim) => product * dim, 1);
        // Element (i, j, …) holds its own C-order number; in the file the first axis runs fastest.
        const data = new Int32Array(size);
        for (let number = 0; number < size; number++) {
          let [rest, position, stride] = [number, 0, size];
          for (const dim of [...shape].reverse()) {
            stride /= dim;
            position += (rest % dim) * stride;
            rest = Math.floor(rest / dim);
          }
          data[position] = number;
        }
        const read = parseNpy(npyBytes({ descr: "<i4", shape, data, fortran: true }), "a");
        expect(read).toEqual({ shape, data: Int32Array.from({ length: size }, (_, i) => i) });
      }),
      { seed: 1 },
    );
  });

  test("reads a scalar and an empty array", () => {
    expect(parseNpy(npyBytes({ descr: "<f4", shape: [], data: Float32Array.of(7) }), "a").shape).toEqual([]);
    expect(
      parseNpy(npyBytes({ descr: "<f4", shape: [0, 3], data: new Float32Array() }), "a").data,
    ).toHaveLength(0);
  });

  test.each([
    ["|O", "a: the array holds Python objects"],
    ["<U4", 'a: the array has elements of type "<U4"'],
    ["<c8", 'a: the array has elements of type "<c8"'],
    ["<constructor", 'a: the array has elements of type "<constructor"'],
  ])("refuses elements of type %s", (descr, message) => {
    expect(() => parseNpy(npyBytes({ descr, shape: [1], data: new Uint8Array(8) }), "a")).toThrow(message);
  });

  test("refuses what is not a .npy file", () => {
    expect(() => parseNpy(new TextEncoder().encode("hello, world"), "a")).toThrow(
      "a: not a NumPy .npy array",
    );
    expect(() => parseNpy(new Uint8Array(), "a")).toThrow("a: not a NumPy .npy array");
    const future = matrix.slice();
    future[6] = 9;
    expect(() => parseNpy(future, "a")).toThrow("a: .npy version 9 is not known");
  });

  test("refuses a size that does not fit the shape", () => {
    expect(() => parseNpy(matrix.slice(0, -1), "a")).toThrow(
      "a: an array of shape [2, 3] and type <f4 takes 24 bytes, but 23 follow the header; the file is damaged",
    );
    const huge = npyBytes({ descr: "<f4", shape: [99999999, 99999999], data: new Uint8Array() });
    expect(() => parseNpy(huge, "a")).toThrow("which cannot be right");
  });

  test("refuses every truncation with one line", () => {
    for (let length = 0; length < matrix.length; length++) {
      expect(() => parseNpy(matrix.slice(0, length), "a"), `${length} bytes`).toThrow(SorthError);
    }
  });

  test("reads or refuses damaged bytes, and never throws anything else", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(matrix.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        (edits) => {
          const damaged = matrix.slice();
          for (const [at, byte] of edits) damaged[at] = byte;
          try {
            const { shape, data } = parseNpy(damaged, "a");
            expect(data).toHaveLength(shape.reduce((product, dim) => product * dim, 1));
          } catch (error) {
            expect(error).toBeInstanceOf(SorthError);
            expect((error as SorthError).message).not.toContain("\n");
          }
        },
      ),
      { seed: 2, numRuns: 2000 },
    );
  });
});
