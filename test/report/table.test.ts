import pc from "picocolors";
import { describe, expect, test } from "vitest";
import { responseAngleTable, weightAngleTable } from "../../src/report/angle-table.ts";
import type { LayerAngles } from "../../src/report/angles.ts";
import { fixed, formatTable } from "../../src/report/table.ts";

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

  test("fixed shows a dash where there is no number", () => {
    expect([fixed(1.005, 1), fixed(Number.NaN, 2), fixed(undefined, 2)]).toEqual(["1.0", "–", "–"]);
  });
});

describe("tables of angles", () => {
  const layer: LayerAngles = {
    ...{ name: "fc1", op: "Gemm" as const, units: 128, fanIn: 784, groups: 1, pairs: 8001, dead: 1 },
    ...{ mean: 89.987, spread: 2.051, min: 80.5, max: 99.123, histogram: [] },
  };
  const none = { ...layer, name: "fc2", dead: 128, pairs: 0, mean: Number.NaN, spread: Number.NaN };

  test("of weights", () => {
    expect(weightAngleTable({ layers: [{ ...layer, random: 2.046 }], skipped: [] })).toMatchInlineSnapshot(`
      "layer  op           units  fan-in  mean°  spread°   min°   max°  random°
      fc1    Gemm  128 (1 dead)     784  89.99     2.05  80.50  99.12     2.05"
    `);
  });

  test("of responses", () => {
    const layers = [layer, { ...none, min: Number.NaN, max: Number.NaN }].map((l) => ({ ...l, rows: 256 }));
    expect(responseAngleTable({ layers, skipped: [] })).toMatchInlineSnapshot(`
      "layer  op             units  rows  mean°  spread°   min°   max°
      fc1    Gemm    128 (1 dead)   256  89.99     2.05  80.50  99.12
      fc2    Gemm  128 (128 dead)   256      –        –      –      –"
    `);
  });
});
