import { writeFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { type DataOptions, type Dataset, loadData, readModel } from "../../src/index.ts";
import { temporaryFolder } from "../cli/run-cli.ts";

// Lists that lack some of their numbers: null in JSON, None and NaN in the lists of pandas and pyarrow.

const folder = temporaryFolder();
afterAll(() => folder.remove());

function written(rows: readonly object[]): string {
  const path = `${folder.path}/rows.jsonl`;
  writeFileSync(path, rows.map((row) => JSON.stringify(row)).join("\n"));
  return path;
}

/** Samples of an array, and the rows of the table that they come from. */
async function samples({ size, inputs, labels, sampleRow }: Dataset, name = "x") {
  const rows = Array.from({ length: size }, (_, i) => i);
  const column = inputs?.get(name) ?? labels;
  if (!column) throw new Error("no array");
  const width = column.shape[0] ?? 1;
  const values = new Float64Array(size * width);
  await column.fill(rows, values);
  const lists = rows.map((row) => Array.from(values.subarray(row * width, (row + 1) * width)));
  return { lists, rows: rows.map((row) => sampleRow?.(row) ?? row) };
}

const lists = [
  { x: [1, 2, 3], y: 0 },
  { x: [4, null, 6], y: 1 },
  { x: [7, 8, null], y: 0 },
  { x: [10, 20, 30], y: 1 },
];
const refusal =
  'row 2 (line 2), column "x" holds a list without all its numbers (2 rows lack some): use --missing';

describe("lists of JSON", () => {
  test("are refused with what helps", async () => {
    await expect(loadData(written(lists))).rejects.toThrow(`${refusal} mean, zero or drop`);
  });

  test("are left out with their rows, which are counted", async () => {
    const { train, remarks } = await loadData(written(lists), { missing: "drop" });
    expect(await samples(train)).toEqual({
      lists: [
        [1, 2, 3],
        [10, 20, 30],
      ],
      rows: [0, 3],
    });
    expect(remarks?.at(-1)).toContain("2 rows lack a value and are left out");
  });

  test.each<[DataOptions["missing"], number[][]]>([
    [
      "zero",
      [
        [4, 0, 6],
        [7, 8, 0],
      ],
    ],
    // Means of the place: of 2, 8 and 20, and of 3, 6 and 30.
    [
      "mean",
      [
        [4, 10, 6],
        [7, 8, 13],
      ],
    ],
  ])("are filled with the %s of their place, and so are those of an evaluation", async (missing, filled) => {
    const { train, conversion } = await loadData(written(lists), { missing });
    const expected = [[1, 2, 3], ...filled, [10, 20, 30]];
    expect((await samples(train)).lists).toEqual(expected);
    const again = await loadData(written(lists), { conversion });
    expect((await samples(again.train)).lists).toEqual(expected);
  });

  test("are filled before they are standardized, as numbers of columns are", async () => {
    const { train } = await loadData(written(lists), { missing: "mean", standardize: true });
    const { lists: found } = await samples(train);
    expect([found[1]?.[1], found[2]?.[2]]).toEqual([0, 0]);
  });

  test("an evaluation of a model whose data had all numbers says where one is missing", async () => {
    const { conversion } = await loadData(written([lists[0], lists[3]] as object[]));
    await expect(loadData(written(lists), { conversion })).rejects.toThrow(
      'row 2 (line 2), column "x" has no value at place 2 of its list, and the model was trained on data that had all: use --missing drop',
    );
    expect((await loadData(written(lists), { conversion, missing: "drop" })).train.size).toBe(2);
  });

  test("as labels are left out, and have no mean", async () => {
    const labelled = lists.map(({ x, y }) => ({ x: y, y: x }));
    await expect(loadData(written(labelled), { missing: "mean" })).rejects.toThrow(
      'label "y" holds a list without all its numbers (2 rows lack some): use --missing drop',
    );
    const { train } = await loadData(written(labelled), { missing: "drop" });
    expect(await samples(train, "y")).toEqual({
      lists: [
        [1, 2, 3],
        [10, 20, 30],
      ],
      rows: [0, 3],
    });
  });

  test("of lists lack a list as they lack a number", async () => {
    const nested = [
      {
        x: [
          [1, 2],
          [3, 4],
        ],
        y: 0,
      },
      { x: [[5, 6], null], y: 1 },
      {
        x: [
          [7, null],
          [8, 9],
        ],
        y: 1,
      },
    ];
    const { train } = await loadData(written(nested), { missing: "zero" });
    expect((await samples(train)).lists).toEqual([
      [1, 2, 3, 4],
      [5, 6, 0, 0],
      [7, 0, 8, 9],
    ]);
  });
});

describe("lists of tokens", () => {
  const rows = [
    { input_ids: [5, 6, 7], attention_mask: [1, 1, 1], labels: [-100, 0, 1] },
    { input_ids: [8, null], attention_mask: [1, 1], labels: [-100, 2] },
    { input_ids: null, attention_mask: [1], labels: [0] },
    { input_ids: [1, 2, 3, 4, 5], attention_mask: [1, 1, 1, 1, null], labels: [0, 0, 0, 0, 0] },
    { input_ids: [9, 8], attention_mask: [1, 1], labels: [-100, 2] },
  ];
  const model = () => readModel("test/fixtures/hugging-face/tagger.onnx");

  test("are left out, and others are filled up to the longest that is left", async () => {
    const { train, remarks } = await loadData(written(rows), { model: await model(), missing: "drop" });
    expect(await samples(train, "input_ids")).toEqual({
      lists: [
        [5, 6, 7],
        [9, 8, 0],
      ],
      rows: [0, 4],
    });
    expect((await samples(train, "labels")).lists).toEqual([
      [-100, 0, 1],
      [-100, 2, -100],
    ]);
    expect(remarks?.at(-1)).toContain("3 rows lack a value");
  });

  test.each<DataOptions["missing"]>([undefined, "mean", "zero"])(
    "have no mean and no zero (%s)",
    async (missing) => {
      const options = { model: await model(), ...(missing && { missing }) };
      await expect(loadData(written(rows.slice(0, 2)), options)).rejects.toThrow(
        'row 2 (line 2), column "input_ids" holds a list without all its numbers (1 rows lack some): use --missing drop',
      );
    },
  );
});

describe("lists of Parquet", () => {
  const path = "test/fixtures/data/lists-gaps.parquet";

  test("are left out with None, with NaN and with no list at all", async () => {
    const { train, remarks } = await loadData(path, { missing: "drop" });
    expect(await samples(train)).toEqual({
      lists: [
        [1, 2, 3],
        [10, 20, 30],
      ],
      rows: [0, 4],
    });
    expect(remarks?.at(-1)).toContain("3 rows lack a value");
  });

  test("of true and false hold 1 and 0", async () => {
    const { train } = await loadData(path, { columns: ["flags"], missing: "drop" });
    expect(await samples(train)).toEqual({
      lists: [
        [1, 0],
        [0, 1],
        [1, 1],
        [0, 0],
      ],
      rows: [0, 1, 2, 4],
    });
  });

  test("are refused without a flag", async () => {
    await expect(loadData(path, { columns: ["x"] })).rejects.toThrow(
      'row 2 (index 1), column "x" holds a list without all its numbers (3 rows lack some): use --missing drop',
    );
  });
});
