import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { conversionFromText, conversionToText } from "../../src/data/conversion.ts";
import { type DataOptions, type Dataset, loadData, readModel, splitValidation } from "../../src/index.ts";

const fixtures = "test/fixtures/data";
const own = mkdtempSync(join(tmpdir(), "sorth-tables-"));
afterAll(() => rmSync(own, { recursive: true, force: true }));

function written(name: string, text: string): string {
  writeFileSync(join(own, name), text);
  return join(own, name);
}

async function numbers(dataset: Dataset) {
  const rows = Array.from({ length: dataset.size }, (_, i) => i);
  const [width = 1] = dataset.x.shape;
  const x = new Float64Array(dataset.size * width);
  const y = new Float64Array(dataset.size);
  await dataset.fill(rows, x, y);
  return { x: rows.map((row) => [...x.subarray(row * width, (row + 1) * width)]), y: [...y] };
}

/** The fixture as the CSV file holds it. */
const expected = readFileSync(`${fixtures}/flowers.csv`, "utf8")
  .trim()
  .split("\n")
  .slice(1)
  .map((line) => {
    const place = line.includes("north") ? [1, 0] : [0, 1];
    const [height, width, count] = line.split(",").map(Number);
    return [height, width, count, ...place].map((value) => Math.fround(value as number));
  });
const species = Array.from({ length: 24 }, (_, i) => i % 3);

describe("tables of pandas and pyarrow", () => {
  const parquet = ["none", "snappy", "gzip", "zstd", "brotli", "lz4", "pages2"].map(
    (codec) => `flowers-${codec}.parquet`,
  );
  test.each(["flowers.csv", "flowers.tsv", "flowers.jsonl", ...parquet])("%s", async (file) => {
    const { train, conversion, remarks } = await loadData(`${fixtures}/${file}`);
    const found = await numbers(train);
    expect(found.y).toEqual(species);
    expect(found.x).toEqual(expected);
    expect(conversion?.classes).toEqual(["setosa", "versicolor", "virginica"]);
    expect(remarks?.join()).toContain("x from height, width, count, place (2); labels from label");
  });

  test("lists are several numbers of a sample", async () => {
    const { train } = await loadData(`${fixtures}/lists.parquet`);
    expect([train.x.shape, train.size, (await numbers(train)).y]).toEqual([[5], 24, species]);
  });

  test("a semicolon or a quote is no obstacle, nor a byte-order mark", async () => {
    const path = written("semicolon.csv", '\ufeffa;b;y\r\n1;"2";0\r\n3;4;1\r\n');
    expect(await numbers((await loadData(path)).train)).toEqual({
      x: [
        [1, 2],
        [3, 4],
      ],
      y: [0, 1],
    });
  });
});

describe("labels and columns as pandas writes them", () => {
  const source = "a,b,kind\n1,2,x\n3,4,y\n";
  test.each([
    ["kind", "kind"],
    ["2", "kind"],
    ["-1", "kind"],
    ["0", "a"],
  ])("the label %s is the column %s", async (label, name) => {
    const path = written("numbered.csv", source);
    const { conversion } = await loadData(path, { label });
    expect(conversion?.table?.label?.name).toBe(name);
    expect((await loadData(`${path}:${label}`)).conversion?.table?.label?.name).toBe(name);
  });

  test("a column that is called by a number is taken by its name", async () => {
    const { conversion } = await loadData(written("names.csv", "2,b,c\n1,2,0\n3,4,1\n"), { label: "2" });
    expect(conversion?.table?.label?.name).toBe("2");
  });

  test("decimal commas between semicolons", async () => {
    const { train } = await loadData(written("comma.csv", "a;b;y\n1,5;-,25;0\n2;3,0;1\n"));
    expect((await numbers(train)).x).toEqual([
      [1.5, -0.25],
      [2, 3],
    ]);
  });
});

describe("columns and a model's inputs", () => {
  test("a column goes to the input of its name, the others to the one that is left", async () => {
    const model = await readModel(`${fixtures}/named.onnx`);
    const { train } = await loadData(`${fixtures}/flowers.csv`, { model });
    const height = new Float32Array(2);
    const rest = new Float32Array(8);
    await train.inputs?.get("height")?.fill([0, 1], height);
    await train.inputs?.get("rest")?.fill([0, 1], rest);
    expect([...height]).toEqual(expected.slice(0, 2).map(([first]) => first));
    expect([...rest]).toEqual(expected.slice(0, 2).flatMap((row) => row.slice(1)));
  });

  test("rows of pixels take the shape of the model's images", async () => {
    const names = Array.from({ length: 48 }, (_, i) => `p${i}`);
    const rows = [0, 1].map((row) => [...names.map((_, i) => (i * 5 + row) % 256), row].join(","));
    const path = written("pixels.csv", `${[...names, "label"].join(",")}\n${rows.join("\n")}\n`);
    const { train } = await loadData(path, { model: await readModel(`${fixtures}/grey.onnx`) });
    expect([train.x.shape, train.inputs?.get("x")?.bytes]).toEqual([[1, 6, 8], true]);
  });
});

describe("missing values and standardization", () => {
  const path = () => written("holes.csv", "a,b,y\n1,10,0\n,20,1\n3,NA,0\n5,60,1\n");
  test.each([
    [
      "mean",
      [
        [1, 10],
        [3, 20],
        [3, 30],
        [5, 60],
      ],
    ],
    [
      "zero",
      [
        [1, 10],
        [0, 20],
        [3, 0],
        [5, 60],
      ],
    ],
    [
      "drop",
      [
        [1, 10],
        [5, 60],
      ],
    ],
  ] as const)("%s", async (missing, x) => {
    const { train } = await loadData(path(), { missing });
    expect((await numbers(train)).x).toEqual(x);
  });

  test("the mean and the deviation are those of the training rows, and the same for later data", async () => {
    const split = { validation: 0.25, seed: 4 };
    const { train, conversion } = await loadData(`${fixtures}/flowers.csv`, { standardize: true, ...split });
    const kept = (await numbers(splitValidation(train, split.validation, split.seed).train)).x;
    for (const column of [0, 1, 2]) {
      const values = kept.map((row) => row[column] as number);
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
      expect([Math.abs(mean) < 1e-6, Math.abs(squares - 1) < 1e-5]).toEqual([true, true]);
    }
    const again = conversionFromText(conversionToText(conversion as never), "a test");
    const lines = readFileSync(`${fixtures}/flowers.csv`, "utf8").split("\n");
    const later = written("later.csv", [lines[0], ...lines.slice(5, 9)].join("\n"));
    const found = await numbers((await loadData(later, { conversion: again })).train);
    expect(found.x).toEqual((await numbers(train)).x.slice(4, 8));
    expect(found.y).toEqual(species.slice(4, 8));
    const unlabelled = written("unlabelled.csv", lines.map((line) => line.replace(/,[^,]*$/, "")).join("\n"));
    expect((await loadData(unlabelled, { conversion: again })).train.y.type).toBe("none");
  });

  test("a list is standardized place by place, and later lists with the same figures", async () => {
    const rows = ["[1,50]", "[2,70]", "[3,90]"].map((list, i) => `{"v":${list},"y":${i % 2}}`);
    const { train, conversion } = await loadData(written("lists.jsonl", rows.join("\n")), {
      standardize: true,
    });
    const far = Math.fround(Math.sqrt(1.5));
    const all = [
      [-far, -far],
      [0, 0],
      [far, far],
    ];
    expect((await numbers(train)).x).toEqual(all);
    const later = written("later-lists.jsonl", rows[2] as string);
    expect((await numbers((await loadData(later, { conversion: conversion as never })).train)).x).toEqual([
      all[2],
    ]);
  });

  test("equal numbers have no deviation: their rounding does not become ±1, nor a later 3.4 a number of 15 digits", async () => {
    const path = written("equal.csv", `a,y\n${"3.3,0\n3.3,1\n3.3,0\n".repeat(13)}`);
    const { train, conversion } = await loadData(path, { standardize: true });
    for (const [value] of (await numbers(train)).x) expect(value).toBeCloseTo(0, 9);
    const later = await loadData(written("other.csv", "a,y\n3.4,0\n"), { conversion: conversion as never });
    expect((await numbers(later.train)).x[0]?.[0]).toBeCloseTo(0.1, 6);
  });
});

describe("letters", () => {
  const lines = ["größe,wort,y", "1,grün\u2028neu,0", "2,grön,1"].join("\n");
  test.each([
    ["utf-8.csv", Buffer.from(`\ufeff${lines}`)],
    ["utf-16.csv", Buffer.from(`\ufeff${lines}`, "utf16le")],
    ["utf-8.jsonl", Buffer.from('{"größe":1,"wort":"grün\u2028neu","y":0}\n{"größe":2,"wort":"grön","y":1}')],
  ])("%s", async (name, bytes) => {
    writeFileSync(join(own, name), bytes);
    const { train, conversion } = await loadData(join(own, name));
    const x = [
      [1, 0, 1],
      [2, 1, 0],
    ];
    expect(await numbers(train)).toEqual({ x, y: [0, 1] });
    const column = { kind: "category", name: "wort", categories: ["grön", "grün\u2028neu"] };
    expect(conversion?.table?.inputs[0]?.columns).toEqual([{ kind: "number", name: "größe" }, column]);
  });

  test.each(["csv", "jsonl"])(
    "another encoding is refused, where ü and ö would become one letter: .%s",
    async (kind) => {
      const path = join(own, `latin-1.${kind}`);
      writeFileSync(
        path,
        Buffer.from(kind === "csv" ? lines.replace("\u2028", "") : '{"x":"ü","y":0}', "latin1"),
      );
      await expect(loadData(path)).rejects.toThrow(`${path}: its text is not in UTF-8`);
    },
  );
});

describe("what does not fit is refused, with file, row, column and what helps", () => {
  const cases: readonly (readonly [name: string, text: string, options: DataOptions, says: string])[] = [
    [
      "hole.csv",
      "a,y\n1,0\n,1\n",
      {},
      'row 2 (line 3), column "a" has no value (1 rows have none): use --missing mean, zero or drop',
    ],
    [
      "label.csv",
      "a,y\n1,0\n2,\n",
      { missing: "mean" },
      'label "y" has no value (1 rows have none): use --missing drop',
    ],
    [
      "two.csv",
      "a,y,target\n1,0,1\n",
      {},
      "which of the columns y and target is the label? Say it with --label",
    ],
    ["other.csv", "a,y\n1,0\n", { label: "income" }, 'there is no column "income" (--label); it has a, y'],
    [
      "leak.csv",
      "a,y\n1,0\n",
      { label: "y", columns: ["a", "y"] },
      '--columns feeds the label "y" to the model; leave it out',
    ],
    ["feed.csv", "a,y\n1,0\n", { columns: ["b"] }, 'there is no column "b" (--columns); it has a, y'],
    [
      "plain.csv",
      "1,2,3\n4,5,6\n",
      {},
      "the first line holds numbers (1, 2, 3 …), not the names of the columns",
    ],
    ["headless.csv", "1.5,2.5,x\n3.5,4,y\n", {}, "the first line holds numbers (1.5, 2.5 …)"],
    [
      "stray.csv",
      `a,y\n${Array.from({ length: 30 }, (_, i) => `${i === 3 ? "abc" : i},0`).join("\n")}\n`,
      {},
      'row 4 (line 5), column "a" holds "abc" among numbers: replace it',
    ],
    ["infinite.csv", "a,y\n1,0\n-inf,1\n", {}, 'row 2 (line 3), column "a" holds -Infinity'],
    ["short.csv", "a,b,y\n1,2,0\n3,4\n", {}, "line 3"],
    ["empty.csv", "", {}, "the file is empty"],
    ["head.csv", "a,y\n", {}, "there are no rows"],
    ["twice.csv", "a,a,y\n1,2,0\n", {}, 'two columns are called "a"'],
    // In time that does not grow with the square of their number.
    ["wide.csv", `${[...Array(1e5).keys(), 7].map((i) => `c${i}`)}\n`, {}, 'two columns are called "c7"'],
    ["broken.jsonl", '{"a":1,"y":0}\n{"a":2\n', {}, "line 2 is no JSON"],
    [
      "key.jsonl",
      '{"a":1,"y":0}\n{"a":2,"y":1,"b":3}\n',
      {},
      'line 2 has the key "b", which the first line lacks',
    ],
    [
      "list.jsonl",
      '{"x":[1,2],"y":0}\n{"x":[1],"y":1}\n',
      {},
      'row 2 (line 2), column "x" holds a list of 1 numbers',
    ],
    ["lines.csv", 'a,b,y\n1,"x\ny",0\n\n,z,1\n', {}, 'row 2 (line 5), column "a" has no value'],
    ["cr.csv", "a,y\r1,0\r,1\r", {}, 'row 2 (line 3), column "a" has no value'],
    ["lines.jsonl", '{"a":1,"y":0}\n\n{"a":null,"y":1}\n', {}, 'row 2 (line 3), column "a" has no value'],
    ["texts.csv", "a,y\nred,0\nblue,1\n", { standardize: true }, "--standardize acts on numbers"],
    ["none.parquet", "PAR1 not", {}, "not a Parquet file, or a damaged one"],
  ];
  test.each(cases)("%s", async (name, text, options, says) => {
    const path = written(name, text);
    await expect(loadData(path, options)).rejects.toThrow(says);
    await expect(loadData(path, options)).rejects.toThrow(name);
  });

  test("a table of another width than the model's input", async () => {
    const model = await readModel(`${fixtures}/vector.onnx`);
    await expect(loadData(written("few.csv", "a,b,y\n1,2,0\n"), { model })).rejects.toThrow(
      'the columns a, b give 2 numbers per sample, but input "x" of the model takes 5: choose columns with --columns',
    );
  });

  test.each([
    [",a,y\n0,1,0\n", {}, "the column without a name is an index of pandas (index=False leaves it out)"],
    ["a,b,kind\n0,1,x\n", {}, "choose columns with --columns, and the column of the labels with --label"],
  ])("%j: what helps", async (text, options, says) => {
    const model = await readModel(`${fixtures}/vector.onnx`);
    await expect(loadData(written("help.csv", text), { model, ...options })).rejects.toThrow(says);
  });

  test("a text that training did not see", async () => {
    const { conversion } = await loadData(`${fixtures}/flowers.csv`);
    const path = written("west.csv", "height,width,count,place,label\n1,2,3,west,setosa\n");
    await expect(loadData(path, { conversion } as DataOptions)).rejects.toThrow(
      'row 1 (line 2), column "place" holds "west" where one of north, south, far is expected',
    );
  });

  test("a missing number, where training had none, with what helps", async () => {
    const { conversion } = await loadData(written("full.csv", "a,y\n1,0\n3,1\n"));
    const options = { conversion } as DataOptions;
    const path = written("gap.csv", "a,y\n,0\n3,1\n");
    await expect(loadData(path, options)).rejects.toThrow(
      'row 1 (line 2), column "a" has no value, and the model was trained on data that had all: use --missing drop',
    );
    expect(await numbers((await loadData(path, { ...options, missing: "drop" })).train)).toEqual({
      x: [[3]],
      y: [1],
    });
  });
});
