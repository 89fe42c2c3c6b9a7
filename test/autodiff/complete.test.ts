import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { commonRules } from "../../src/autodiff/common-table.ts";
import { furtherRules } from "../../src/autodiff/further-table.ts";
import { imageRules } from "../../src/autodiff/image-table.ts";
import { rulesFor } from "../../src/autodiff/rules-for.ts";
import { rules } from "../../src/autodiff/table.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import { decodeModel } from "../../src/onnx/model.ts";

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

test("a graph of common operators needs the common rules alone; any other gets all of them", async () => {
  expect(await rulesFor(graphOf(decodeModel(readFileSync("models/mlp.onnx"))))).toBe(commonRules);
  const ofImages = await rulesFor(graphOf(decodeModel(readFileSync("models/cnn.onnx"))));
  expect(ofImages).toEqual({ ...commonRules, ...furtherRules, ...imageRules });
  for (const opType of ["LSTM", "Unheard"]) {
    const other = graphOf(decodeModel(readFileSync("models/cnn.onnx")));
    other.addNode({ opType, name: opType, inputs: [], outputs: ["other"] });
    expect(await rulesFor(other)).toBe(rules);
  }
});
