import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { gzipSync, zipSync } from "fflate";
import { afterAll, describe, expect, test } from "vitest";
import { loadData, loadNpz } from "../../src/data/load-node.ts";
import { parseNpz } from "../../src/data/npz.ts";
import { gunzip } from "../../src/data/unzip.ts";
import { FileError, SorthError, UsageError } from "../../src/errors.ts";
import { npyBytes } from "./npy-bytes.ts";

const fixture = (name: string) => new URL(`../fixtures/npz/${name}`, import.meta.url).pathname;
const floats = (shape: number[], values: number[]) =>
  npyBytes({ descr: "<f4", shape, data: Float32Array.from(values) });
const int64s = (shape: number[], values: bigint[]) =>
  npyBytes({ descr: "<i8", shape, data: BigInt64Array.from(values) });
const archive = (arrays: Record<string, Uint8Array>) =>
  zipSync(Object.fromEntries(Object.entries(arrays).map(([name, bytes]) => [`${name}.npy`, bytes])));

describe("archives written by NumPy", () => {
  test("labels, and a test split", async () => {
    const { train, test: held } = await loadNpz(fixture("labels.npz"));
    expect([train.size, train.x, train.y]).toEqual([
      4,
      { type: "float", shape: [2, 3] },
      { type: "integer", shape: [], classes: 3 },
    ]);
    const [x, y] = [new Float32Array(12), new Int32Array(2)];
    train.fill([1, 3], x, y);
    expect([...x]).toEqual([6, 7, 8, 9, 10, 11, 18, 19, 20, 21, 22, 23]);
    expect([...y]).toEqual([2, 0]);
    held?.fill([0], x, y);
    expect([held?.size, x[0], y[0]]).toEqual([2, 100, 1]);
  });

  test("float targets, compressed, big-endian, Fortran order, halves", async () => {
    const { train, test: held } = await loadNpz(fixture("targets.npz"));
    expect(held).toBeUndefined();
    expect(train.y).toEqual({ type: "float", shape: [2] });
    const [x, y] = [new Float64Array(6), new Float64Array(2)];
    train.fill([2], x, y);
    expect([...x]).toEqual([12, 13, 14, 15, 16, 17]);
    expect([...y]).toEqual([3, 3.25]);
  });

  test("objects and texts are refused", async () => {
    await expect(loadNpz(fixture("objects.npz"))).rejects.toThrow(
      /objects.npz: x: the array holds Python objects/,
    );
    await expect(loadNpz(fixture("text.npz"))).rejects.toThrow(
      /text.npz: y: the array has elements of type "<U3"/,
    );
  });
});

describe("parseNpz refuses", () => {
  const x = floats([2, 2], [1, 2, 3, 4]);
  test.each([
    ["labels alone", { y: int64s([2], [0n, 1n]) }, "d.npz: there are only labels, no array of data"],
    [
      "different counts",
      { x, y: int64s([3], [0n, 1n, 2n]) },
      "d.npz: x has shape [2, 2] and y [3]; an axis of both must count the samples",
    ],
    [
      "scalars",
      { x: floats([], [1]), y: floats([], [1]) },
      "the first axis of the labels, or of the data, must count the samples",
    ],
    ["no samples", { x: floats([0, 2], []), y: int64s([0], []) }, "d.npz: there are no samples"],
    [
      "an axis that is not the only one",
      { x, y: int64s([4], [0n, 1n, 0n, 1n]) },
      "x has shape [2, 2] and y [4]",
    ],
    [
      "NaN",
      { x: floats([2, 2], [1, 2, Number.NaN, 4]), y: int64s([2], [0n, 1n]) },
      "d.npz: x holds NaN in sample 1 (element 0)",
    ],
    [
      "an infinite target",
      { x, y: floats([2], [0, Number.POSITIVE_INFINITY]) },
      "d.npz: y holds Infinity in sample 1 (element 0)",
    ],
    [
      "half a test split",
      { x, y: int64s([2], [0n, 1n]), x_test: x },
      "d.npz (test): there are no labels, although the training data has some",
    ],
    [
      "a test split of another shape",
      { x, y: int64s([2], [0n, 1n]), x_test: floats([1, 3], [1, 2, 3]), y_test: int64s([1], [0n]) },
      "d.npz: samples of x have shape [2], but those of d.npz (test) [3]",
    ],
  ])("%s", (_, arrays: Record<string, Uint8Array>, message) => {
    expect(() => parseNpz(archive(arrays), "d.npz")).toThrow(message);
  });

  test("bytes that are no archive, and every truncation of one", () => {
    expect(() => parseNpz(new TextEncoder().encode("{}"), "d.npz")).toThrow("d.npz: not an .npz archive");
    const bytes = archive({ x, y: int64s([2], [0n, 1n]) });
    for (let length = 0; length < bytes.length; length += 7) {
      expect(() => parseNpz(bytes.slice(0, length), "d.npz"), `${length} bytes`).toThrow(SorthError);
    }
  });

  test("an archive of zeros without end, a name twice, and every flipped bit of an array", () => {
    const zeros = zipSync({ "x.npy": x });
    const directory = zeros.length - 22 - 46 - "x.npy".length;
    new DataView(zeros.buffer).setUint32(directory + 24, 3_500_000_000, true);
    expect(() => parseNpz(zeros, "d.npz")).toThrow(/its \d+ bytes unpack to 3500000000 or more/);
    const twice = zipSync({ "x.npy": x, "z.npy": x }, { level: 0 });
    for (let at = 0; at < twice.length; at++) if (twice[at] === 0x7a) twice[at] = 0x78;
    expect(() => parseNpz(twice, "d.npz")).toThrow('it holds "x.npy" twice');
    const stored = zipSync({ "x.npy": x, "y.npy": int64s([2], [0n, 1n]) }, { level: 0 });
    expect(parseNpz(stored, "d.npz").train.size).toBe(2);
    for (let at = 35; at < 35 + x.length; at += 3) {
      const damaged = stored.slice();
      damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8));
      expect(() => parseNpz(damaged, "d.npz"), `byte ${at}`).toThrow("its content is damaged");
    }
    const packed = gzipSync(x);
    expect(gunzip(packed)).toEqual(x);
    expect(() => gunzip(packed.with(packed.length - 8, (packed.at(-8) ?? 0) ^ 1))).toThrow("damaged");
    expect(() => gunzip(packed.with(packed.length - 1, 0xff))).toThrow("which real data does not");
  });

  test("damaged archives, with one line and never anything else", () => {
    const bytes = new Uint8Array(readFileSync(fixture("targets.npz")));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        (edits) => {
          const damaged = bytes.slice();
          for (const [at, byte] of edits) damaged[at] = byte;
          try {
            parseNpz(damaged, "d.npz");
          } catch (error) {
            expect(error).toBeInstanceOf(SorthError);
            expect((error as SorthError).message).not.toContain("\n");
          }
        },
      ),
      { seed: 3, numRuns: 1000 },
    );
  });
});

describe("arrays are found by the names that people give them", () => {
  const x = floats([2, 2], [1, 2, 3, 4]);
  const other = floats([3, 2], [5, 6, 7, 8, 9, 10]);
  const y = int64s([2], [0n, 1n]);
  const long = int64s([3, 1], [1n, 0n, 1n]);
  test.each([
    ["Keras", { x_train: x, y_train: y, x_test: other, y_test: long }, ["x"], "y", 0, 3],
    [
      "MedMNIST",
      ...([
        {
          ...{ train_images: x, train_labels: y, val_images: other, val_labels: long },
          ...{ test_images: other, test_labels: long },
        },
        ["images"],
        "labels",
        3,
        3,
      ] as const),
    ],
    ["scikit-learn", { X_train: x, y_train: y, X_valid: other, y_valid: long }, ["X"], "y", 3, 0],
    ["several inputs", { a: x, b: x, y }, ["a", "b"], "y", 0, 0],
    [
      "several inputs in parts",
      { a_train: x, b_train: x, y_train: y, a_test: other, b_test: other, y_test: long },
      ["a", "b"],
      "y",
      0,
      3,
    ],
    ["a name that looks like a part", { x, is_test: y, y }, ["x", "is_test"], "y", 0, 0],
    ["no labels", { x }, ["x"], undefined, 0, 0],
    [
      "a text beside the data",
      { x, y, names: npyBytes({ descr: "<U3", shape: [1], data: new Uint32Array(3) }) },
      ["x"],
      "y",
      0,
      0,
    ],
  ])("%s", (_, arrays, inputs, labels, validation, held) => {
    const split = parseNpz(archive(arrays as Record<string, Uint8Array>), "d.npz");
    expect([...(split.train.inputs?.keys() ?? [])]).toEqual(inputs);
    expect([split.train.labels?.name, split.validation?.size ?? 0, split.test?.size ?? 0]).toEqual([
      labels,
      validation,
      held,
    ]);
    const row = new Float32Array(2);
    split.train.inputs?.get(inputs[0] ?? "")?.fill([1], row);
    expect([...row]).toEqual([3, 4]);
  });

  test("samples on another axis, as the labels count them", () => {
    // [time, sample, channel]: element 100·t + 10·n + c
    const values = Array.from(
      { length: 24 },
      (_, i) => 100 * Math.floor(i / 8) + 10 * (Math.floor(i / 2) % 4) + (i % 2),
    );
    const { train, remarks } = parseNpz(
      archive({ x: floats([3, 4, 2], values), y: int64s([4], [0n, 1n, 0n, 1n]) }),
      "d.npz",
    );
    const row = new Float32Array(6);
    train.inputs?.get("x")?.fill([2], row);
    expect([...row]).toEqual([20, 21, 120, 121, 220, 221]);
    expect(remarks?.join()).toContain("x [3, 4, 2] counts its samples on axis 1, as y does");
  });

  test("64-bit integers keep every digit", () => {
    const big = 2n ** 60n + 1n;
    const { train } = parseNpz(archive({ ids: int64s([1, 2], [big, -5n]), y: int64s([1], [0n]) }), "d.npz");
    const ids = new BigInt64Array(2);
    train.inputs?.get("ids")?.fill([0], ids);
    expect([...ids]).toEqual([big, -5n]);
  });
});

describe("loadData", () => {
  const folder = mkdtempSync(join(tmpdir(), "sorth-data-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  test("reads an .npz file", async () => {
    const path = join(folder, "d.npz");
    writeFileSync(path, archive({ x: floats([2, 1], [1, 2]), y: int64s([2], [0n, 1n]) }));
    expect((await loadData(path)).train.size).toBe(2);
  });

  test.each([
    [folder, "a folder of images needs the model"],
    [
      join(folder, "d.csv:label"),
      "d.csv: there is no such file or folder; data are mnist, a folder of images",
    ],
    ["imagenet", "imagenet: there is no such file or folder; data are mnist, a folder of images"],
  ])("%s is refused", async (spec, message) => {
    await expect(loadData(spec)).rejects.toThrow(spec === folder ? UsageError : FileError);
    await expect(loadData(spec)).rejects.toThrow(message);
  });

  test("a missing file is named", async () => {
    const path = join(folder, "missing.npz");
    await expect(loadData(path)).rejects.toThrow(`${path}: there is no such file or folder; data are mnist`);
  });
});
