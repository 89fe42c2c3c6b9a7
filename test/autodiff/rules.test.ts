import { describe, expect, test } from "vitest";
import type { Rule } from "../../src/autodiff/rule.ts";
import { rules } from "../../src/autodiff/table.ts";
import type { Value } from "../../src/graph/node.ts";
import { elementCount } from "../../src/onnx/tensor.ts";
import { maxAbs, maxDifference } from "../helpers/numbers.ts";
import { computedGradient, inDouble, numbersOf, random, titleOf } from "./rule-case.ts";
import { directionCheck, type Slope } from "./slopes.ts";

const differentiable = Object.entries(rules).filter((entry): entry is [string, Rule] => "vjp" in entry[1]);
type Computed = Awaited<ReturnType<typeof computedGradient>>;

/** Their kernels for doubles hold the momentum and the scale in float32, which one input alone shows. */
const floatConstants = new Set(["BatchNormalization", "Attention"]);

/** Differences of what is linear in each input have no error but rounding. */
function toleranceOf(op: string, type: "double" | "float", { linear }: Rule): number {
  if (type === "double") return floatConstants.has(op) ? 3e-8 : 1e-8;
  return linear ? 2e-6 : 3e-4;
}

const inputs = new Set<string>();
let run = 0;
const moving = new Set<string>();
const emitted = new Set<string>();

describe.each(differentiable)("%s", (op, rule) => {
  test.each(rule.samples.map((sample) => [titleOf(op, sample), sample] as const))("%s", async (_, sample) => {
    run++;
    const double = await inDouble(sample, () => directionCheck({ op, sample, type: "double" }, rule, 7));
    if (!double) {
      hold(op, rule, "float", await directionCheck({ op, sample, type: "float" }, rule, 7));
      return;
    }
    hold(op, rule, "double", double.result);
    const float = await computedGradient({ op, sample, type: "float" }, random(7));
    // Some outputs are floats whatever the input is.
    if (float.projections.size > double.result.projections.size) {
      hold(op, rule, "float", await directionCheck({ op, sample, type: "float" }, rule, 7));
      return;
    }
    hold(op, rule, "float", float);
    const expected = [...double.result.gradients.values()];
    [...float.gradients].forEach(([{ name }, gradient], i) => {
      const [actual, wanted] = [numbersOf(gradient), numbersOf(expected[i])];
      expect(actual.length).toBe(wanted.length);
      const error = maxDifference(actual, wanted) / Math.max(maxAbs(wanted), 0.01);
      expect(error, `float, ${name}, beside double`).toBeLessThan(1e-4);
    });
  });
});

/** Holds shapes and slopes of a gradient, and remembers what it is made of. */
function hold(
  op: string,
  rule: Rule,
  type: "double" | "float",
  { graph, wrt, results, gradients, slopes = [] }: Computed & { readonly slopes?: readonly Slope[] },
): void {
  for (const { of, analytic, numeric, error } of slopes) {
    const what = `${type}, ${of}: ⟨∇f, u⟩ = ${analytic}, finite difference ${numeric}`;
    expect(error, what).toBeLessThan(toleranceOf(op, type, rule));
    inputs.add(`${op} ${of}`);
    if (analytic !== 0) moving.add(`${op} ${of}`);
  }
  results.forEach((value, i) => {
    if (!value) return;
    const tensor = gradients.get(wrt[i] as Value);
    expect(tensor?.dims, `shape of ${value.name}`).toEqual(value.shape);
    expect(tensor?.size).toBe(elementCount(value.shape ?? []));
  });
  for (const { op: name } of graph.nodes) emitted.add(name);
}

test("every input of every rule has a gradient in one of its samples", () => {
  // Only where all samples were run.
  if (run < differentiable.reduce((sum, [, { samples }]) => sum + samples.length, 0)) return;
  expect([...inputs].filter((input) => !moving.has(input))).toEqual([]);
});

test("every operator that a rule emits has an entry in the table itself (second derivatives)", () => {
  expect(emitted.size).toBeGreaterThan(20);
  expect([...emitted].filter((op) => !rules[op] && op !== "Constant")).toEqual([]);
});
