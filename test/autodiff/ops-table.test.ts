import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { opsTable } from "../../scripts/ops-table.ts";
import { gradientOperatorsOfAll } from "./gradient-operators.ts";

test("docs/ops.md is what the table says (npm run docs:ops)", async () => {
  expect(readFileSync("docs/ops.md", "utf8")).toBe(opsTable(await gradientOperatorsOfAll()));
});
