import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { arrayDataset, type Dataset, loadData } from "../../src/index.ts";
import { describeData } from "../../src/runtime/describe-data.ts";

const own = mkdtempSync(join(tmpdir(), "sorth-arrays-"));
afterAll(() => rmSync(own, { recursive: true, force: true }));

const folder = "test/fixtures/data";
const { x: whole, y: labels } = JSON.parse(readFileSync(`${folder}/whole.json`, "utf8")) as {
  readonly x: number[][];
  readonly y: number[];
};

/** All numbers of a dataset. */
async function numbers(dataset: Dataset) {
  const rows = Array.from({ length: dataset.size }, (_, i) => i);
  const width = (shape: readonly number[]) => shape.reduce((product, dim) => product * dim, 1);
  const x = new Float64Array(dataset.size * width(dataset.x.shape));
  const y = new Float64Array(dataset.size * width(dataset.y.shape));
  await dataset.fill(rows, x, y);
  return { x: [...x], y: [...y] };
}

const types = [
  ...[
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float16",
    "float32",
    "float64",
  ],
  ...["big-int32", "big-float64", "fortran"],
];

describe("arrays that numpy wrote", () => {
  test.each(types)("%s", async (type) => {
    const { train } = await loadData(`${folder}/array-${type}.npz`);
    expect(await numbers(train)).toEqual({ x: whole.flat(), y: labels });
    expect([train.x.shape, train.y.type, train.y.classes]).toEqual([[5], "integer", 3]);
  });

  test("bool becomes 0 and 1", async () => {
    const { train } = await loadData(`${folder}/array-bool.npz`);
    expect((await numbers(train)).x).toEqual(whole.flat().map((value) => (value % 2 === 0 ? 1 : 0)));
  });

  test.each([
    ["column", [1], labels],
    ["uint8", [], labels],
    ["onehot", [3], labels.flatMap((label) => [0, 1, 2].map((one) => (one === label ? 1 : 0)))],
    ["onehot-int", [3], labels.flatMap((label) => [0, 1, 2].map((one) => (one === label ? 1 : 0)))],
  ] as const)("labels as %s", async (kind, shape, expected) => {
    const { train } = await loadData(`${folder}/labels-${kind}.npz`);
    expect([train.y.shape, (await numbers(train)).y]).toEqual([shape, expected]);
  });

  test("a folder of .npy files, or a list of them, as an .npz with their names", async () => {
    const { train, test: held } = await loadData(`${folder}/npy`);
    expect(await numbers(train)).toEqual({ x: whole.flat(), y: labels });
    expect((await numbers(held as Dataset)).y).toEqual(labels.slice(0, 6));
    const listed = await loadData(`${folder}/npy/x_train.npy,${folder}/npy/y_train.npy`);
    expect(await numbers(listed.train)).toEqual({ x: whole.flat(), y: labels });
  });

  test("safetensors", async () => {
    expect(await numbers((await loadData(`${folder}/arrays.safetensors`)).train)).toEqual({
      x: whole.flat(),
      y: labels,
    });
  });

  test("safetensors of other types", async () => {
    const types = {
      U8: Uint8Array,
      I8: Int8Array,
      U16: Uint16Array,
      I16: Int16Array,
      U32: Uint32Array,
    } as const;
    for (const [dtype, Kind] of Object.entries(types)) {
      const [x, y] = [Kind.of(1, 2, 3, 4), BigInt64Array.of(0n, 1n)];
      const header = JSON.stringify({
        y: { dtype: "I64", shape: [2], data_offsets: [0, 16] },
        x: { dtype, shape: [2, 2], data_offsets: [16, 16 + x.byteLength] },
      }).padEnd(160);
      const path = join(own, `${dtype}.safetensors`);
      const length = new Uint8Array(BigUint64Array.of(BigInt(header.length)).buffer);
      writeFileSync(
        path,
        Buffer.concat([length, Buffer.from(header), new Uint8Array(y.buffer), new Uint8Array(x.buffer)]),
      );
      const { train } = await loadData(path);
      expect([await numbers(train), train.inputs?.get("x")?.dtype]).toEqual([
        { x: [1, 2, 3, 4], y: [0, 1] },
        Kind.name.replace("Array", "").toLowerCase(),
      ]);
    }
  });

  test.each([
    ["array-int8", "24 samples: int8 [5] → float32 [5], labels of 3 classes, 33.3–33.3 % each"],
    ["array-float16", "24 samples: float16 [5] → float32 [5]"],
    ["array-big-float64", "24 samples: float64 [5] → float32 [5]"],
    ["array-uint64", "24 samples: uint64 [5] → float32 [5]"],
    ["array-bool", "24 samples: bool [5] → float32 [5]"],
    ["labels-column", "labels of 3 classes, 33.3–33.3 % each"],
    ["labels-onehot", "one-hot labels of 3 classes, 33.3–33.3 % each"],
    ["labels-onehot-int", "one-hot labels of 3 classes, 33.3–33.3 % each"],
  ])("%s is described with its type in NumPy", async (name, says) => {
    const { train } = await loadData(`${folder}/${name}.npz`);
    const inputs = [{ name: "x", type: "float", shape: [2, 5] }] as never;
    expect(describeData(train, { inputs, labels: undefined }, {})).toContain(says);
  });

  test("digits that are scaled when they are loaded say how", () => {
    const digits = arrayDataset(new Uint8Array(8), Int32Array.of(0, 1), [4], {
      normalize: { mean: 0.25, std: 0.5 },
    });
    const inputs = [{ name: "x", type: "float", shape: [2, 4] }] as never;
    expect(describeData(digits, { inputs, labels: undefined }, {})).toBe(
      "2 samples: uint8 [4] → float32 [4] ÷ 255 − 0.25, ÷ 0.5, labels of 2 classes, 50.0–50.0 % each",
    );
  });

  test("IDX files, packed or not, and of other types", async () => {
    const { train, test: held } = await loadData(`${folder}/idx`);
    expect([train.x.shape, train.size, held?.size]).toEqual([[6, 8], 24, 6]);
    expect([train.inputs?.get("images")?.bytes, (await numbers(train)).y]).toEqual([true, labels]);
    const other = await loadData(`${folder}/idx-types`);
    expect(await numbers(other.train)).toEqual({ x: whole.flat(), y: labels });
  });

  test.each([
    [`${folder}/nothing.npy`, "nothing.npy: there is no such file or folder"],
    [`${folder}/npy/x_train.npy, y.npy`, "y.npy: there is no such file or folder"],
    [`${folder}/image.onnx`, "unknown kind of data; give mnist, a folder of images"],
    [`${folder}/exact.json`, "a file of JSON is one value: write one object per line"],
  ])("%s is refused", async (path, says) => {
    await expect(loadData(path)).rejects.toThrow(says);
  });

  test.each([`${folder}/npy`, "mnist"])("options of tables belong to tables, not to %s", async (source) => {
    await expect(loadData(source, { standardize: true })).rejects.toThrow("--standardize belongs to tables");
  });
});
