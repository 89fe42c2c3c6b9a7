import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { opsTable } from "../../src/autodiff/support.ts";

test("docs/ops.md is what the table says (npm run docs:ops)", () => {
  expect(readFileSync("docs/ops.md", "utf8")).toBe(opsTable());
});
