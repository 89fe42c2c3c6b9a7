import { describe, expect, test } from "vitest";
import type { Rule, Sample } from "../../src/autodiff/rule.ts";
import { rules } from "../../src/autodiff/table.ts";
import { backward } from "../../src/autodiff/walk.ts";
import { Emit } from "../../src/graph/emit.ts";
import type { Typed } from "../../src/graph/emit-base.ts";
import type { Value } from "../../src/graph/node.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { runOpened } from "../helpers/opened-models.ts";
import {
  arrayOf,
  buildNode,
  bytesOf,
  inDouble,
  numbersOf,
  products,
  type RuleCase,
  random,
  randomLike,
  titleOf,
} from "./rule-case.ts";
import { slopesOf, steps } from "./slopes.ts";

/** ONNX Runtime's own rewriting of a graph takes most of a check's time: only the graph that is checked is run with it. */
const plain = { optimize: false };

/**
 * The gradient of the gradient. h(x, v) = ⟨∇ₓ⟨y(x), v⟩, u⟩ is differentiated with respect to x and v by the walk itself,
 * which passes through every node that the rule emitted, and compared with central differences of h.
 */
async function secondDirectionCheck(testCase: RuleCase, rule: Rule, seed: number) {
  const next = random(seed);
  const { graph, wrt, feeds } = buildNode(testCase, next);
  const y = await runOpened(bytesOf(graph), feeds, plain);
  const seeds = graph.outputs.flatMap((output) => {
    const tensor = y.get(output.name) as Tensor;
    output.type = tensor.type;
    output.shape = tensor.dims;
    if (tensor.type !== testCase.type) return [];
    const v = graph.addInput(graph.freshName("v"), tensor.type, tensor.dims) as Typed;
    feeds.set(v.name, Tensor.of(v.name, v.type, v.shape, arrayOf(v.type, randomLike(v, next))));
    return [{ value: output, gradient: () => v }];
  });
  const variables = [...wrt, ...graph.inputs.filter((input) => !wrt.includes(input))];
  graph.outputs.length = 0;
  const emit = new Emit(graph, { prefix: "d/" });
  const first = backward(graph, { wrt, seeds, rules, emit });
  const gradients = [...first.values()].map((gradient) => emit.identity(gradient));
  if (gradients.length === 0) return undefined;
  for (const gradient of gradients) graph.addOutput(gradient);
  graph.prune();
  const gradientModel = bytesOf(graph);
  const projections = gradients.map((gradient) => randomLike(gradient, next));

  graph.outputs.length = 0;
  const second = backward(graph, {
    wrt: variables,
    seeds: gradients.map((value, i) => ({
      value,
      gradient: () => emit.constant(value.type, value.shape, arrayOf(value.type, projections[i] as number[])),
    })),
    rules,
    emit: new Emit(graph, { prefix: "d2/" }),
  });
  const results = new Map<Value, Value>();
  for (const [value, gradient] of second) results.set(value, graph.addOutput(emit.identity(gradient)));
  graph.prune();
  const computed = results.size > 0 ? await runOpened(bytesOf(graph), feeds) : new Map<string, Tensor>();

  return slopesOf(variables, {
    ...{ type: testCase.type, next, feeds },
    // The gradient of what is linear in each input is that too.
    step: rule.linear ? 1 : steps[testCase.type],
    gradient: (variable) => numbersOf(computed.get(results.get(variable)?.name ?? "")),
    terms: async (moved) => {
      const outputs = await runOpened(gradientModel, moved, plain);
      return gradients.flatMap(({ name }, i) =>
        products(numbersOf(outputs.get(name)), projections[i] as number[]),
      );
    },
  });
}

const differentiable = Object.entries(rules).filter((entry): entry is [string, Rule] => "vjp" in entry[1]);

describe.each(differentiable)("%s", (op, rule) => {
  test.each(rule.samples.map((sample: Sample) => [titleOf(op, sample), sample] as const))(
    "%s",
    async (_, sample) => {
      const check = (type: "double" | "float") => secondDirectionCheck({ op, sample, type }, rule, 11);
      const double = await inDouble(sample, () => check("double"));
      const result = double ? double.result : await check("float");
      for (const { of, analytic, numeric, error } of result ?? []) {
        const what = `${double ? "double" : "float"}, ${of}: ⟨∇h, d⟩ = ${analytic}, finite difference ${numeric}`;
        expect(error, what).toBeLessThan(double ? 1e-7 : 2e-3);
      }
    },
  );
});
