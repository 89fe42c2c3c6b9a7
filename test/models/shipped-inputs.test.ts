import { describe, expect, test } from "vitest";
import { randomInput, rowsOfTables } from "../../scripts/shipped-models/random-inputs.ts";
import { Random } from "../../src/random.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

describe("inputs of the survey of shipped models", () => {
  test("numbers of rows reach every row of the smallest table, other integers are 0 and 1", () => {
    const b = new GraphBuilder();
    const atoms = b.input("atoms", ["batch", 16], "int64");
    const mask = b.input("mask", ["batch", 16], "int64");
    const large = b.op("Gather", [b.weight("large", [121, 4]), atoms], "a");
    // Along axis 1, the table has 7 columns.
    const small = b.op("Gather", [b.weight("small", [4, 7]), atoms], "s", { axis: 1 });
    const picked = b.op("Gather", [mask, b.int64("first", [0])], "picked");
    const graph = b.output(large, small, picked);
    const rows = rowsOfTables(graph);
    expect([...rows]).toEqual([["atoms", 7]]);
    const draw = (name: string) => {
      const port = { name, type: "int64", shape: [40, 16] } as const;
      return new Set(randomInput(new Random("test", 1), port, rows.get(name)).numbers());
    };
    expect([...draw("atoms")].sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect([...draw("mask")].sort()).toEqual([0, 1]);
  });
});
