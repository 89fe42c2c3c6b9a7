import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { rules } from "../../src/autodiff/table.ts";

// Written by scripts/operator-names.py.
const names: Record<string, string[]> = JSON.parse(readFileSync("test/fixtures/operator-names.json", "utf8"));

describe.each(Object.entries(names))("domain %j", (domain, operators) => {
  const inTable = (name: string) => (domain ? `${domain}.${name}` : name);

  test("every operator of opsets up to 26 has a rule, passes nothing on, or is refused with a reason", () => {
    expect(operators.length).toBeGreaterThan(15);
    expect(operators.filter((name) => !rules[inTable(name)])).toEqual([]);
  });
});

test("reasons are sentences that fit behind a colon", () => {
  const reasons = Object.values(rules).flatMap((entry) =>
    "constant" in entry ? [entry.constant] : "refused" in entry ? [entry.refused] : [],
  );
  expect(reasons.length).toBeGreaterThan(80);
  expect(reasons.filter((reason) => !/^\S.* .*[^.\s]$/.test(reason))).toEqual([]);
});
