import { describe, expect, test } from "vitest";
import type { Rule } from "../../src/autodiff/rule.ts";
import { rules } from "../../src/autodiff/table.ts";
import { elementCount } from "../../src/onnx/tensor.ts";
import { directionCheck, inDouble, titleOf } from "./rule-case.ts";

const differentiable = Object.entries(rules).filter((entry): entry is [string, Rule] => "vjp" in entry[1]);
const emitted = new Set<string>();

describe.each(differentiable)("%s", (op, rule) => {
  test.each(rule.samples.map((sample) => [titleOf(op, sample), sample] as const))("%s", async (_, sample) => {
    const check = (type: "double" | "float") => directionCheck({ op, sample, type }, rule, 7);
    const double = await inDouble(sample, () => check("double"));
    for (const type of double ? (["double", "float"] as const) : (["float"] as const)) {
      const result = type === "double" && double ? double.result : await check(type);
      const tolerance = type === "double" ? 1e-8 : 1e-3;
      expect(
        Math.abs(result.analytic - result.numeric) / result.scale,
        `${type}: ⟨∇f, u⟩ = ${result.analytic}, finite difference ${result.numeric}`,
      ).toBeLessThan(tolerance);
      for (const value of result.results) {
        if (!value) continue;
        const tensor = result.computed.get(value.name);
        expect(tensor?.dims, `shape of ${value.name}`).toEqual(value.shape);
        expect(tensor?.size).toBe(elementCount(value.shape ?? []));
      }
      for (const name of result.operators) emitted.add(name);
    }
  });
});

test("every operator that a rule emits has an entry in the table itself (second derivatives)", () => {
  expect(emitted.size).toBeGreaterThan(20);
  expect([...emitted].filter((op) => !rules[op] && op !== "Constant")).toEqual([]);
});
