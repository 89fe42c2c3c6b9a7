import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { type Dataset, loadData } from "../../src/index.ts";
import { builtModel, GraphBuilder } from "../helpers/build-graph.ts";

// What people write into tables: numbers for readers, other encodings, other words for nothing.

const own = mkdtempSync(join(tmpdir(), "sorth-written-"));
afterAll(() => rmSync(own, { recursive: true, force: true }));

function written(name: string, content: string | Uint8Array): string {
  writeFileSync(join(own, name), content);
  return join(own, name);
}

async function numbers({ size, x, fill }: Dataset): Promise<number[]> {
  const values = new Float64Array(size * (x.shape[0] ?? 1));
  const rows = Array.from({ length: size }, (_, i) => i);
  await fill(rows, values, new Float64Array(size));
  return [...values];
}

describe("numbers that were written for people", () => {
  test.each([
    ["45%,5,0\n7.5%,6,1", "numbers with percent signs (45%)"],
    ["$45,5,0\n€7,6,1", "amounts with signs of currencies ($45)"],
    ['"12,345,678",5,0\n"1,234",6,1', "numbers with separators of thousands (1,234)"],
    ["1 234,5,0\n5,6,1", "numbers with separators of thousands (1 234)"],
    ["1_000,5,0\n2,6,1", "numbers with separators of thousands (1_000)"],
    ['"1,5",5,0\n"2,25",6,1', "numbers with decimal commas (1,5)"],
    ["(5),5,0\n7,6,1", "numbers with signs that are no minus ((5))"],
    ["−2,5,0\n3,6,1", "numbers with signs that are no minus (−2)"],
    ["2024-01-05,5,0\n2024-02-05,6,1", "dates (2024-01-05)"],
    ["5.1.2024,5,0\n6.1.2024,6,1", "dates (5.1.2024)"],
    ["2024-01-05T10:00:00Z,5,0\n2024-02-05 11:00,6,1", "dates (2024-01-05T10:00:00Z)"],
    ["10:30,5,0\n11:45:10.5,6,1", "times (10:30)"],
  ])("%s are said to be read as texts", async (rows, what) => {
    const { remarks, train } = await loadData(written("people.csv", `a,b,y\n${rows}\n`));
    expect(remarks?.join("\n")).toContain(
      `column "a" holds ${what}, which are read as texts and become numbers of their own, 0 or 1: write plain numbers`,
    );
    expect(train.x.shape).toEqual([3]);
  });

  test.each(["red,5,0\n7%,6,1", "2024,5,0\n2025,6,1", "1A,5,0\n2B,6,1", "yes,5,0\nno,6,1"])(
    "%s are none",
    async (rows) => {
      const { remarks } = await loadData(written("plain.csv", `a,b,y\n${rows}\n`));
      expect(remarks?.join("\n")).not.toContain("read as texts");
    },
  );

  test("are named as labels, and where a model takes fewer numbers", async () => {
    const path = written("labels.csv", "a,b,price\n1,5,$5\n2,6,$6\n");
    expect((await loadData(path, { label: "price" })).remarks?.join("\n")).toContain(
      'label "price" holds amounts with signs of currencies ($5), which are read as texts and become classes',
    );
    const b = new GraphBuilder();
    b.output(b.op("MatMul", [b.input("x", ["N", 2]), b.weight("w", [2, 2])], "y"));
    const dated = written("dated.csv", "a,b,y\n2024-01-05,5,0\n2024-02-05,6,1\n");
    await expect(loadData(dated, { model: builtModel(b) })).rejects.toThrow(
      'column "a" holds dates (2024-01-05): write plain numbers',
    );
  });
});

test("every word that pandas reads as nothing is nothing", async () => {
  const words = [
    "#N/A N/A",
    "#NA",
    "-NaN",
    "-nan",
    "-1.#IND",
    "-1.#QNAN",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "n/a",
    "NULL",
  ];
  const path = written("nothing.csv", `a,y\n1,0\n${words.map((word) => `${word},1`).join("\n")}\n3,0\n`);
  const { train, remarks } = await loadData(path, { missing: "drop" });
  expect(await numbers(train)).toEqual([1, 3]);
  expect(remarks?.at(-1)).toContain(`${words.length} rows lack a value`);
});

test.each([
  ["UTF-16, low byte first", (text: string) => Buffer.from(`\ufeff${text}`, "utf16le")],
  ["UTF-16, high byte first", (text: string) => Buffer.from(`\ufeff${text}`, "utf16le").swap16()],
  ["UTF-8 with a byte order mark", (text: string) => Buffer.from(`\ufeff${text}`, "utf8")],
])("%s", async (_, encoded) => {
  const path = written("encoded.csv", encoded("größe;b;y\r\n1,5;2;0\r\n3;4;1\r\n"));
  const { train, conversion } = await loadData(path);
  expect(await numbers(train)).toEqual([1.5, 2, 3, 4]);
  expect(conversion?.table?.inputs[0]?.columns[0]?.name).toBe("größe");
});

test("Python's NaN is no JSON, and the message says what to write", async () => {
  const path = written("python.jsonl", '{"a": NaN, "y": 0}\n{"a": 1, "y": 1}\n');
  await expect(loadData(path)).rejects.toThrow(
    "Python writes NaN and Infinity, which JSON lacks: write null",
  );
});

test.each([
  ["people.csv.gz", "compressed files and archives are not read: unpack it"],
  ["people.json", "write one object per line (.jsonl"],
  ["people.XLSX", "save the sheet as CSV"],
  ["people.feather", "write it as Parquet"],
  ["people.pkl", "save its arrays in an .npz file"],
  ["cat.jpg", "one image is no data set: give the folder"],
])("%s is refused with what to do", async (name, says) => {
  await expect(loadData(written(name, "x"))).rejects.toThrow(says);
});

test("the index that pandas keeps in Parquet is not fed, unless it is asked for", async () => {
  const path = "test/fixtures/data/indexed.parquet";
  const { train, remarks } = await loadData(path);
  expect(await numbers(train)).toEqual([1, 4, 2, 5, 3, 6]);
  expect(remarks?.join()).toContain("not fed: __index_level_0__");
  const asked = await loadData(path, { columns: ["a", "__index_level_0__"] });
  expect(await numbers(asked.train)).toEqual([1, 10, 2, 20, 3, 30]);
});

test("1 and 0 beside true and false are the same; other numbers and words are texts", async () => {
  const path = written("bits.csv", "a,y\nTrue,FALSE\nFALSE,1\n1,True\n0,0\n");
  const { train, conversion } = await loadData(path);
  const labels = new Float64Array(4);
  const x = new Float64Array(4);
  await train.fill([0, 1, 2, 3], x, labels);
  expect([[...x], [...labels]]).toEqual([
    [1, 0, 1, 0],
    [0, 1, 1, 0],
  ]);
  expect(conversion?.classes).toBeUndefined();
  const { train: others } = await loadData(written("words.csv", "a,y\nTrue,0\n2,1\nFALSE,1\n"));
  expect(others.x.shape).toEqual([3]);
});
