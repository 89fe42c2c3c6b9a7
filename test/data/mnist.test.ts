import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "fflate";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { parseIdx } from "../../src/data/idx.ts";
import { loadMnist } from "../../src/data/mnist-node.ts";
import { SorthError } from "../../src/errors.ts";

const idx = (shape: number[], bytes: number[]) =>
  Uint8Array.from([0, 0, 8, shape.length, ...shape.flatMap((dim) => [0, 0, dim >> 8, dim & 255]), ...bytes]);

describe("MNIST of the npm package", () => {
  test("has 60,000 and 10,000 digits of mean 0 and standard deviation 1", async () => {
    const { train, test: held } = await loadMnist();
    expect([train.size, held?.size]).toEqual([60_000, 10_000]);
    expect(train.x).toEqual({ type: "float", shape: [1, 28, 28] });
    expect(train.y).toEqual({ type: "integer", shape: [], classes: 10 });
    // An odd stride: even and odd samples were written by different groups of people.
    const count = 8571;
    const [x, y] = [new Float32Array(count * 784), new Int32Array(count)];
    train.fill(
      Uint32Array.from({ length: count }, (_, i) => i * 7),
      x,
      y,
    );
    const mean = x.reduce((sum, v) => sum + v, 0) / x.length;
    const variance = x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length;
    expect(mean).toBeCloseTo(0, 2);
    expect(Math.sqrt(variance)).toBeCloseTo(1, 2);
    // The first ten labels of the training file, as published.
    train.fill([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], x, y);
    expect([...y.slice(0, 10)]).toEqual([5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
  });
});

describe("MNIST of a folder", () => {
  const folder = mkdtempSync(join(tmpdir(), "sorth-mnist-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const write = (name: string, bytes: Uint8Array) => writeFileSync(join(folder, name), bytes);
  beforeEach(() => {
    write("train-images-idx3-ubyte.gz", gzipSync(idx([2, 1, 2], [0, 255, 51, 102])));
    write("train-labels-idx1-ubyte", idx([2], [3, 1]));
    write("t10k-images.idx3-ubyte", idx([1, 1, 2], [255, 0]));
    write("t10k-labels.idx1-ubyte.gz", gzipSync(idx([1], [2])));
  });

  test("is read compressed or not, with its own pixel statistics", async () => {
    const { train, test: held } = await loadMnist({ folder, pixels: { mean: 0.5, std: 0.25 } });
    const [x, y] = [new Float32Array(4), new Int32Array(2)];
    train.fill([1, 0], x, y);
    expect([...x]).toEqual([-1.2, -0.4, -2, 2].map(Math.fround));
    expect([...y]).toEqual([1, 3]);
    expect([held?.size, held?.y.classes]).toEqual([1, 3]);
  });

  test("names the file that is missing or damaged", async () => {
    write("t10k-labels.idx1-ubyte.gz", Uint8Array.of(31, 139, 8, 0, 1));
    await expect(loadMnist({ folder })).rejects.toThrow(/t10k-labels.idx1-ubyte.gz: cannot be decompressed/);
    write("train-labels-idx1-ubyte", idx([3], [1, 2, 3]));
    await expect(loadMnist({ folder })).rejects.toThrow(
      "train-images-idx3-ubyte.gz: images have shape [2, 1, 2] and labels [3]; [n, height, width] and [n] are needed",
    );
    rmSync(join(folder, "train-labels-idx1-ubyte"));
    await expect(loadMnist({ folder })).rejects.toThrow(
      `${folder}: the file train-labels-idx1-ubyte (or train-labels-idx1-ubyte.gz) is missing`,
    );
    await expect(loadMnist({ folder: join(folder, "none") })).rejects.toThrow(
      /none: the folder .* cannot be read/,
    );
  });

  test("every truncation of an IDX file is refused, and bytes too many", () => {
    const bytes = idx([2, 1, 2], [0, 255, 51, 102]);
    expect(() => parseIdx(Uint8Array.of(...bytes, 0), "f")).toThrow("takes 4 bytes, but 5 follow the header");
    for (let length = 0; length < bytes.length; length++) {
      expect(() => parseIdx(bytes.slice(0, length), "f"), `${length} bytes`).toThrow(SorthError);
    }
  });
});
