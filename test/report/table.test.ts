import pc from "picocolors";
import { describe, expect, test } from "vitest";
import { angleCsv } from "../../src/report/angle-csv.ts";
import { angleRemarks } from "../../src/report/angle-remarks.ts";
import { responseAngleTable, weightAngleTable } from "../../src/report/angle-table.ts";
import { shortNames } from "../../src/report/side-by-side.ts";
import { fitTable, fixed, formatTable } from "../../src/report/table.ts";
import { convolution, responseLayer, weightLayer } from "../measure/layers.ts";

const columns = [{ heading: "layer" }, { heading: "units", align: "right" }, { heading: "why" }] as const;

describe("formatTable", () => {
  test("aligns columns and leaves nothing at the ends of lines", () => {
    const text = formatTable(columns, [
      ["conv1", "16", ""],
      ["a.longer.name", "4096", "some reason"],
    ]);
    expect(text.split("\n")).toEqual([
      "layer          units  why",
      "conv1             16",
      "a.longer.name   4096  some reason",
    ]);
  });

  test("counts what is seen: wide characters twice, colours not at all", () => {
    const { green, bold } = pc.createColors(true);
    const rows = [
      ["層", "1", "x"],
      [green("ab"), "22", "y"],
    ];
    const text = formatTable(columns, rows, bold);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: escape codes are what is looked for
    const plain = text.replace(/\x1b\[\d+m/g, "");
    expect(plain.split("\n")).toEqual(["layer  units  why", "層         1  x", "ab        22  y"]);
    expect(text).toContain(green("ab"));
    expect(text).toContain(bold("layer"));
  });

  test("brings no colours of its own and keeps every row on one line", () => {
    const text = formatTable(columns, [["a", "1", "two\nlines"]]);
    expect(text).not.toContain("\x1b");
    expect(text.split("\n")[1]).toBe("a          1  two lines");
  });

  test("a table without rows is its headings", () => {
    expect(formatTable(columns, [])).toBe("layer  units  why");
  });

  test("thousands of rows are laid out as one table, in time that grows with their number", () => {
    const rows = Array.from({ length: 5000 }, (_, i) => [
      i === 4000 ? "重み".repeat(8) : `n${i}`,
      `${i}`,
      "x",
    ]);
    const lines = formatTable(columns, rows).split("\n");
    expect(lines).toHaveLength(5001);
    expect(lines[1]).toBe(`${"n0".padEnd(32)}      0  x`);
    expect(lines[4001]).toBe(`${"重み".repeat(8)}   4000  x`);
  });

  test("cuts names of millions of characters, which would make each row as long", () => {
    const rows = [["n".repeat(1e6), "1", ""], ...Array.from({ length: 99 }, () => ["a", "2", ""])];
    expect(formatTable(columns, rows).length).toBeLessThan(100 * 400);
    expect(fitTable(columns, rows, Number.POSITIVE_INFINITY).text.length).toBeLessThan(100 * 400);
  });

  test("fixed shows a dash where there is no number", () => {
    expect([fixed(1.005, 1), fixed(Number.NaN, 2), fixed(undefined, 2)]).toEqual(["1.0", "–", "–"]);
  });
});

describe("fitTable", () => {
  const ranked = [
    { heading: "layer", shrinks: true },
    { heading: "units", align: "right", rank: 1 },
    { heading: "why", rank: 2 },
  ] as const;
  const rows = [["encoder.layers.0.weight", "16", "reason"]];
  const linesAt = (width: number) => {
    const { text, leftOut } = fitTable(ranked, rows, width);
    return [...text.split("\n"), ...leftOut];
  };

  test("what fits is left as it is", () => {
    const wide = ["layer                    units  why", "encoder.layers.0.weight     16  reason"];
    expect(linesAt(Number.POSITIVE_INFINITY)).toEqual(wide);
    expect(linesAt(38)).toEqual(wide);
  });

  test("columns go by their rank, then names are cut in the middle", () => {
    const narrow = ["layer                    units", "encoder.layers.0.weight     16", "why"];
    expect(linesAt(37)).toEqual(narrow);
    expect(linesAt(29)).toEqual(["layer", "encoder.layers.0.weight", "units", "why"]);
    expect(linesAt(12)).toEqual(["layer", "encode…eight", "units", "why"]);
    expect(linesAt(1)).toEqual(["layer", "enc…ht", "units", "why"]);
  });

  test("no line is wider than asked for", () => {
    for (let width = 6; width < 45; width++) {
      for (const line of fitTable(ranked, rows, width).text.split("\n")) {
        expect(line.length).toBeLessThanOrEqual(width);
      }
    }
  });
});

describe("shortNames", () => {
  test.each([
    [
      ["out/plain.onnx", "out/som.onnx"],
      ["plain.onnx", "som.onnx"],
    ],
    [
      ["a/model.onnx", "b/model.onnx"],
      ["a/model.onnx", "b/model.onnx"],
    ],
    [
      ["runs/a/1/m.onnx", "runs/b/1/m.onnx"],
      ["a/1/m.onnx", "b/1/m.onnx"],
    ],
    [
      ["m.onnx", "a/m.onnx"],
      ["m.onnx", "a/m.onnx"],
    ],
    [["m.onnx"], ["m.onnx"]],
    [
      ["m.onnx", "m.onnx"],
      ["m.onnx", "m.onnx"],
    ],
    [
      ["C:\\runs\\a.onnx", "C:\\runs\\b.onnx"],
      ["a.onnx", "b.onnx"],
    ],
  ])("%j", (paths, expected) => expect(shortNames(paths)).toEqual(expected));
});

describe("tables of angles", () => {
  const weights = { layers: [weightLayer("fc1"), weightLayer("fc2", { mean: Number.NaN })], skipped: [] };
  const at = (width: number) => weightAngleTable([{ model: "a.onnx", report: weights }], { width });

  test("of weights, at the widths of terminals", () => {
    expect(at(Number.POSITIVE_INFINITY).text).toMatchInlineSnapshot(`
      "layer  op    units  fan-in  mean°  spread°  random°   min°   max°    p5°   p50°   p95°  mean|cos|  std cos  max|cos|  Welch   1/√d  ‖WᵀW−I‖  normalized  bound      σ₁  σₙ  cond  rank  stable  effective  dead  same  opposite  pairs
      fc1    Gemm    128     784  89.99     2.05     2.05  80.50  99.12  86.50  90.01  93.40      0.029    0.036     0.165  0.000  0.036    7.702       4.569      0  0.8085   0     ∞   127   65.16      125.3     0     0         0   8128
      fc2    Gemm    128     784      –     2.05     2.05  80.50  99.12  86.50  90.01  93.40      0.029    0.036     0.165  0.000  0.036    7.702       4.569      0  0.8085   0     ∞   127   65.16      125.3     0     0         0   8128"
    `);
    expect(at(132).text).toMatchInlineSnapshot(`
      "layer  op    units  fan-in  mean°  spread°  random°   min°   max°  mean|cos|  max|cos|  ‖WᵀW−I‖      σ₁  cond  dead  same  opposite
      fc1    Gemm    128     784  89.99     2.05     2.05  80.50  99.12      0.029     0.165    7.702  0.8085     ∞     0     0         0
      fc2    Gemm    128     784      –     2.05     2.05  80.50  99.12      0.029     0.165    7.702  0.8085     ∞     0     0         0"
    `);
    expect(at(80)).toMatchInlineSnapshot(`
      {
        "leftOut": [
          "op",
          "p5°",
          "p50°",
          "p95°",
          "mean|cos|",
          "std cos",
          "Welch",
          "1/√d",
          "‖WᵀW−I‖",
          "normalized",
          "bound",
          "σ₁",
          "σₙ",
          "cond",
          "rank",
          "stable",
          "effective",
          "same",
          "opposite",
          "pairs",
        ],
        "text": "layer  units  fan-in  mean°  spread°  random°   min°   max°  max|cos|  dead
      fc1      128     784  89.99     2.05     2.05  80.50  99.12     0.165     0
      fc2      128     784      –     2.05     2.05  80.50  99.12     0.165     0",
      }
    `);
    expect(at(40)).toMatchInlineSnapshot(`
      {
        "leftOut": [
          "op",
          "fan-in",
          "min°",
          "max°",
          "p5°",
          "p50°",
          "p95°",
          "mean|cos|",
          "std cos",
          "max|cos|",
          "Welch",
          "1/√d",
          "‖WᵀW−I‖",
          "normalized",
          "bound",
          "σ₁",
          "σₙ",
          "cond",
          "rank",
          "stable",
          "effective",
          "dead",
          "same",
          "opposite",
          "pairs",
        ],
        "text": "layer  units  mean°  spread°  random°
      fc1      128  89.99     2.05     2.05
      fc2      128      –     2.05     2.05",
      }
    `);
    expect(at(20).text).toMatchInlineSnapshot(`
      "layer  mean°  spread°
      fc1    89.99     2.05
      fc2        –     2.05"
    `);
  });

  test("of responses, at the widths of terminals", () => {
    const responses = { layers: [responseLayer("fc1")], skipped: [] };
    const table = (width: number) => responseAngleTable([{ model: "a.onnx", report: responses }], { width });
    expect(table(Number.POSITIVE_INFINITY).text).toMatchInlineSnapshot(`
      "layer  op    units  rows  mean°  spread°  error°  without°   min°   max°    p5°   p50°   p95°  mean|ϑ|  std ϑ  max|ϑ|  Welch  satur.%  1−tanh²  dead  same  opposite  pairs
      fc1    Gemm    128   512  89.99    20.50    3.95     20.10  80.50  99.12  86.50  90.01  93.40    0.029  0.036   0.165  0.000     42.4    0.278     0     0         0   8128"
    `);
    expect(table(80).text).toMatchInlineSnapshot(`
      "layer  units  rows  mean°  spread°  error°  without°   min°   max°  max|ϑ|
      fc1      128   512  89.99    20.50    3.95     20.10  80.50  99.12   0.165"
    `);
  });

  test("of several models: the same layer side by side, whatever the order of the files", () => {
    const other = { layers: [weightLayer("fc2"), weightLayer("fc3"), weightLayer("fc1")], skipped: [] };
    const reports = [
      { model: "plain.onnx", report: weights },
      { model: "som.onnx", report: other },
    ];
    expect(weightAngleTable(reports, { width: 80 }).text).toMatchInlineSnapshot(`
      "layer  model       units  mean°  spread°  random°   min°   max°  max|cos|
      fc1    plain.onnx    128  89.99     2.05     2.05  80.50  99.12     0.165
      fc1    som.onnx      128  89.99     2.05     2.05  80.50  99.12     0.165
      fc2    plain.onnx    128      –     2.05     2.05  80.50  99.12     0.165
      fc2    som.onnx      128  89.99     2.05     2.05  80.50  99.12     0.165
      fc3    som.onnx      128  89.99     2.05     2.05  80.50  99.12     0.165"
    `);
  });

  test("remarks say what a table has no room for", () => {
    const pair = { count: 30, first: Array.from({ length: 20 }, (_, i) => [0, i + 1] as const) };
    const layer = weightLayer("wide", {
      ...{ dead: 2, deadUnits: [3, 5], duplicates: pair, antiparallel: { count: 1, first: [[7, 8]] } },
      ...{ units: 50257, sampledUnits: 4096, spectrum: { notComputed: "they take long" } },
      convolution: { ...(convolution as object), grid: [14, 14], inputSize: [56, 56] } as never,
    });
    const skipped = [{ name: "one", op: "Gemm" as const, reason: "one unit has no pairs" }];
    expect(angleRemarks({ layers: [layer], skipped })).toEqual([
      "wide: 2 dead units (3, 5)",
      "wide: 30 pairs of units alike (0–1, 0–2, 0–3, 0–4, 0–5, 0–6, 0–7, 0–8, 0–9, 0–10, …)",
      "wide: 1 pair of units opposite (7–8)",
      "wide: pairs of 4096 of its 50257 units, drawn evenly; --full takes all",
      "wide: they take long",
      "wide: convolution worked out for an image of 14×14 instead of 56×56; --full takes the whole one",
      "one: skipped, one unit has no pairs",
    ]);
    expect(angleRemarks({ layers: [responseLayer("fc1")], skipped: [] })).toEqual([]);
  });
});

describe("angleCsv", () => {
  const skipped = [{ name: "one", op: "Gemm" as const, reason: 'it has "one" unit, no pairs' }];

  /** Lines of cells, by the rules of RFC 4180. */
  const parse = (text: string) =>
    text
      .replace(/\r\n$/, "")
      .split("\r\n")
      .map((line) =>
        [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
          ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? "",
        ),
      );

  test("one line a layer and model, columns named as in the JSON", () => {
    const layer = weightLayer("fc1");
    const text = angleCsv([
      { model: "a.onnx", weights: { layers: [layer], skipped } },
      { model: "b, c.onnx", weights: { layers: [weightLayer("fc1", { mean: Number.NaN })], skipped: [] } },
    ]);
    const [header = [], first = [], second = [], third = [], ...rest] = parse(text);
    expect(rest).toEqual([]);
    expect(header.slice(0, 5)).toEqual(["model", "layer", "op", "groups", "skipped"]);
    for (const line of [first, second, third]) expect(line).toHaveLength(header.length);
    expect(first.slice(0, 5)).toEqual(["a.onnx", "fc1", "Gemm", "1", ""]);
    expect(second.slice(0, 6)).toEqual(["a.onnx", "one", "Gemm", "", 'it has "one" unit, no pairs', ""]);
    expect(third[0]).toBe("b, c.onnx");
    expect(third[header.indexOf("weights.mean")]).toBe("");
    // Every column is the number at that place of the JSON.
    const json = JSON.parse(JSON.stringify(layer)) as Record<string, unknown>;
    const at = (path: string): unknown =>
      path
        .split(".")
        .slice(1)
        .reduce((value: unknown, key) => (value as Record<string, unknown> | undefined)?.[key], json);
    header.slice(5).forEach((column, i) => {
      const cell = first[5 + i] ?? "";
      const value = at(column);
      if (typeof value === "number") expect(Number(cell), column).toBe(value);
      else expect(["", "Infinity"], column).toContain(cell);
    });
    expect(first[header.indexOf("weights.spectrum.condition")]).toBe("Infinity");
  });

  test("responses have columns of their own", () => {
    const [header = [], line = []] = parse(
      angleCsv([
        {
          model: "a.onnx",
          weights: { layers: [], skipped: [] },
          responses: { layers: [responseLayer("fc1")], skipped: [] },
        },
      ]),
    );
    expect(line[header.indexOf("responses.rows")]).toBe("512");
    expect(line[header.indexOf("weights.mean")]).toBe("");
  });
});
