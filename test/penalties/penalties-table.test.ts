import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { penaltiesTable } from "../../scripts/penalties-table.ts";

test("docs/penalties.md is what the definitions say (npm run docs:penalties)", async () => {
  expect(readFileSync("docs/penalties.md", "utf8")).toBe(await penaltiesTable());
});
