import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { classRemarks } from "../../src/data/class-remarks.ts";
import { arrayDataset, type Dataset, loadData } from "../../src/index.ts";

const own = mkdtempSync(join(tmpdir(), "sorth-tables-"));
afterAll(() => rmSync(own, { recursive: true, force: true }));

function written(name: string, text: string): string {
  writeFileSync(join(own, name), text);
  return join(own, name);
}

const rowsOf = async (name: string, text: string) => numbers((await loadData(written(name, text))).train);

async function numbers(train: Dataset): Promise<{ x: number[]; y: number[] }> {
  const x = new Float64Array(train.size * (train.x.shape[0] ?? 1));
  const y = new Float64Array(train.size * (train.y.shape[0] ?? 1));
  await train.fill(
    Array.from({ length: train.size }, (_, i) => i),
    x,
    y,
  );
  return { x: [...x], y: [...y] };
}

describe("tables as programs write them", () => {
  test("true and false are 1 and 0 as data, and classes as labels", async () => {
    const truths = [true, false, true];
    const rows = truths.map((a, i) => JSON.stringify({ a, b: i, y: i > 0 })).join("\n");
    const python = (truth: boolean) => (truth ? "True" : "False");
    const csv = `a,b,y\n${truths.map((a, i) => `${python(a)},${i},${python(i > 0)}`).join("\n")}`;
    const sides = [written("truths.jsonl", rows), written("truths.csv", csv)] as const;
    const x = [1, 0, 0, 1, 1, 2];
    for (const [i, side] of sides.entries()) {
      const { train, conversion } = await loadData(side);
      expect(await numbers(train)).toEqual({ x, y: [0, 1, 1] });
      expect(conversion?.classes).toEqual(
        [
          ["false", "true"],
          ["False", "True"],
        ][i],
      );
      // The other file has them in another spelling.
      const other = await loadData(sides[1 - i] as string, { conversion });
      expect(await numbers(other.train)).toEqual({ x, y: [0, 1, 1] });
    }
    const numbersBut = Array.from({ length: 40 }, (_, i) => `${i === 7 ? "TRUE" : i},${i % 2}`).join("\n");
    await expect(loadData(written("one.csv", `a,y\n${numbersBut}`))).rejects.toThrow(
      'row 8 (line 9), column "a" holds "TRUE" among numbers',
    );
  });

  test.each([
    ["excel.csv", 'sep=;\r\na;b;y\r\n1,5;"2";0\r\n-3;4e-1;1\r\n'],
    ["excel-comma.csv", "\ufeffsep=,\na,b,y\n1.5,2,0\n-3,4e-1,1\n"],
    ["bars.csv", "a|b|y\n1,5|2|0\n-3|0.4|1\n"],
    ["tabs.tsv", "a\tb\ty\n1,5\t2\t0\n-3\t,4\t1\n"],
  ])("%s: the separator that Excel's first line names, bars, and decimal commas", async (name, text) => {
    expect(await rowsOf(name, text)).toEqual({ x: [1.5, 2, -3, Math.fround(0.4)], y: [0, 1] });
  });

  test.each([
    [
      "short.csv",
      "a,b,y\n1,2,0\n1,0\n",
      /line 3 has 2 cells, and the first line names 3 columns: .* "," must/,
    ],
    ["long.csv", "a;b;y\n1;2;0;4\n", /line 2 has 4 cells, .* that holds ";" must stand in quotes/],
    ["open.csv", 'a,b,y\n1,"2,0\n1,2,0\n', /a quote is not closed/],
    ["inside.csv", 'a,b,y\n1,"2"x,0\n', /line 2 has a quote inside a cell: .* write each quote in it twice/],
    [
      "trailing.csv",
      "a,b,y,\n1,2,0,\n",
      /column "" has no value .*--columns without the column that has no name/,
    ],
    [
      "large.csv",
      "a,y\n1,0\n9007199254740993,1\n",
      /row 2 \(line 3\), column "a" holds 9007199254740993, .* exact/,
    ],
    [
      "large.jsonl",
      '{"a":1,"y":0}\n{"a":-9007199254740993,"y":1}\n',
      /row 2 .* holds -9007199254740993, .* exact/,
    ],
  ])("%s is refused in words", async (name, text, says) => {
    await expect(rowsOf(name, text)).rejects.toThrow(says);
  });

  test("1,234 is a decimal number behind semicolons alone: elsewhere it may be thousands", async () => {
    expect((await rowsOf("thousands.csv", "a;y\n1,234;0\n0,5;1\n")).x).toEqual([Math.fround(1.234), 0.5]);
    for (const separator of ["\t", "|"]) {
      const text = ["a,y", "1,234,0", "5,678,1"].map((line) => line.replace(/,(?=.$)/, separator)).join("\n");
      // Texts of two kinds: a column for each.
      expect((await rowsOf(separator === "|" ? "bar.csv" : "tab.tsv", text)).x).toEqual([1, 0, 0, 1]);
    }
    expect((await rowsOf("less.tsv", "a\ty\n0,125\t0\n-0,5\t1\n")).x).toEqual([0.125, -0.5]);
  });

  test("whole numbers as doubles hold them are no loss, nor is a number with an exponent", async () => {
    const text = '{"a":9007199254740991,"b":1e20,"y":0}\n{"a":9007199254740992.5,"b":3,"y":1}\n';
    expect((await rowsOf("exact.jsonl", text)).x.slice(1, 2)).toEqual([Math.fround(1e20)]);
  });
});

describe("labels", () => {
  const labelled = (name: string, labels: readonly number[]): Dataset => ({
    ...arrayDataset(new Float32Array(labels.length), Int32Array.from(labels), [1]),
    name,
  });
  test.each([
    [[0, 1, 2], [2, 1, 0], []],
    [
      [0, 1, 1],
      undefined,
      [
        "t: the training samples have 2 of the model's 3 classes, and never class 2 (--classes 2 makes a last layer for those)",
      ],
    ],
    [[0, 2, 2], undefined, ["t: the training samples have 2 of the model's 3 classes, and never class 1"]],
    [
      [1, 1, -100],
      undefined,
      ["t: every training sample has the label 1, from which a model only learns to say 1"],
    ],
    [[0, 1, 2], [1, 1], ["v: no sample of the 2 classes 0, 2, whose figures mean nothing"]],
    [
      [0, 1, 0],
      [0, 1, 2],
      [
        "t: the training samples have 2 of the model's 3 classes, and never class 2 (--classes 2 makes a last layer for those)",
        "v: samples of class 2, which no training sample has",
      ],
    ],
  ])("%j, held out %j", (train, held, says) => {
    expect(classRemarks(labelled("t", train), held && labelled("v", held), 3)).toEqual(says);
  });
});

test("several columns of labels, or lists, are one label of several numbers, which a trained model finds again", async () => {
  const rows = [
    [0.5, 1, "True", 0],
    [1.5, 0, "False", 1],
    [2.5, 1, "True", 1],
  ];
  const csv = written("several.csv", `a,rain,wind,snow\n${rows.map((row) => row.join()).join("\n")}`);
  const lists = rows.map(([a, rain, wind, snow]) =>
    JSON.stringify({ a, y: [rain, Number(wind === "True"), snow] }),
  );
  const expected = { x: [0.5, 1.5, 2.5], y: [1, 1, 0, 0, 0, 1, 1, 1, 1] };
  const { train, conversion } = await loadData(csv, { label: "rain,wind,snow" });
  const names = ["rain", "wind", "snow"];
  expect([train.y.shape, conversion?.table?.label]).toEqual([
    [3],
    { name: "rain,wind,snow", length: 3, names },
  ]);
  expect(conversion?.classes).toEqual(names);
  for (const data of [
    { train },
    await loadData(`${csv}:rain,wind,snow`),
    await loadData(csv, { conversion }),
    await loadData(written("lists.jsonl", lists.join("\n"))),
  ]) {
    expect(await numbers(data.train)).toEqual(expected);
  }
  const unlabelled = await loadData(written("unlabelled.csv", "a,rain\n0.5,1\n"), { conversion });
  expect(unlabelled.train.y.type).toBe("none");
  await expect(loadData(csv, { label: "rain,hail" })).rejects.toThrow(
    'there is no column "rain,hail" (--label)',
  );
  // Numbers of columns would be recorded in place of names, which run.py of distribute reads.
  await expect(loadData(csv, { label: "1,2,-1" })).rejects.toThrow(
    'there is no column "1,2,-1" (--label); it has a, rain, wind, snow',
  );
  const holes = written("holes.csv", "a,rain,wind\n1,1,0\n2,,1\n3,0,0\n");
  await expect(loadData(holes, { label: "rain,wind" })).rejects.toThrow(
    'row 2 (line 3), label "rain,wind" has no value (1 rows have none): use --missing drop',
  );
  expect((await loadData(holes, { label: "rain,wind", missing: "drop" })).train.size).toBe(2);
  const words = written("words.csv", "a,rain,wind\n1,1,no\n");
  await expect(loadData(words, { label: "rain,wind" })).rejects.toThrow(
    'row 1 (line 2), column "wind" holds "no" where a number is expected',
  );
});
