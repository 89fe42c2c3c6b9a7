import { afterAll, describe, expect, test } from "vitest";
import type { Rule, Sample } from "../../src/autodiff/rule.ts";
import { rules } from "../../src/autodiff/table.ts";
import { messageOf } from "../../src/errors.ts";
import { titleOf } from "./rule-case.ts";
import { directionCheck } from "./slopes.ts";

/** The newest opset that ONNX Runtime loads. Files newer than 18 keep theirs, so rules meet their forms. */
const newest = 26;

/** Whether a sample is a node of the newest opset too: three forms changed after opset 18 (and have samples of both). */
function isCurrent(op: string, { opset = 18, attributes = {}, inputs }: Sample): boolean {
  if (opset < 18 || opset > newest) return false;
  if (op === "GridSample") return !["bilinear", "bicubic"].includes(String(attributes.mode?.value));
  if (op === "DFT") return attributes.axis === undefined;
  if (op !== "GroupNormalization") return true;
  const [x, scale] = inputs.map((input) => (Array.isArray(input) ? input : []));
  return x?.[1] === scale?.[0];
}

const differentiable = Object.entries(rules).filter(
  (entry): entry is [string, Rule] => "vjp" in entry[1] && !entry[0].includes("."),
);
const counts = { compared: 0, "without a kernel": 0 };

describe(`rules on nodes of opset ${newest}`, () => {
  test.each(differentiable)("%s", async (op, rule) => {
    const wrong: string[] = [];
    for (const sample of rule.samples.filter((one) => isCurrent(op, one))) {
      try {
        const testCase = { op, sample: { ...sample, opset: newest }, type: "float" } as const;
        const { slopes } = await directionCheck(testCase, rule, 7);
        counts.compared++;
        for (const { of, analytic, numeric, error } of slopes) {
          if (error < 3e-4) continue;
          wrong.push(`${titleOf(op, sample)}, ${of}: ${analytic}, finite difference ${numeric}`);
        }
      } catch (error) {
        if (!/Could not find an implementation/.test(messageOf(error))) throw error;
        counts["without a kernel"]++;
      }
    }
    expect(wrong).toEqual([]);
  });

  afterAll(() => console.log(`rule samples in opset ${newest}: ${JSON.stringify(counts)}`));
});
