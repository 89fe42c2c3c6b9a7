import { expect, test } from "vitest";
import { inferShapes } from "../../src/analysis/infer.ts";
import { findParameters } from "../../src/analysis/parameters.ts";
import { findShared } from "../../src/analysis/shared-initializers.ts";
import { rules } from "../../src/autodiff/table.ts";
import { backward } from "../../src/autodiff/walk.ts";
import { checkGraph } from "../../src/graph/check.ts";
import { Emit } from "../../src/graph/emit.ts";
import type { Typed } from "../../src/graph/emit-base.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

const length = 20_000;

/** x · w, where the weight comes through a chain of that operator. */
function chainOf(op: string) {
  const b = new GraphBuilder(18);
  const weight = b.weight("w", [3, 3]);
  let value = weight;
  for (let i = 0; i < length; i++) value = b.op(op, [value], `a${i}`);
  const y = b.op("MatMul", [b.input("x", [2, 3]), value], "y");
  for (const one of b.graph.values) if (one.producer) [one.type, one.shape] = ["float", [3, 3]];
  y.shape = [2, 3];
  b.output(y);
  return { graph: b.graph, weight, y: y as Typed };
}

test.each(["Identity", "Neg", "Relu"])("a weight behind 20,000 × %s is found and has its gradient", (op) => {
  const { graph, weight, y } = chainOf(op);
  expect(findParameters(graph).parameters.map(({ value }) => value.name)).toEqual(["w"]);
  expect(findShared(graph, {})).toEqual([]);
  const emit = new Emit(graph, { prefix: "d/" });
  const seeds = [{ value: y, gradient: () => emit.filled(1, [2, 3]) }];
  const gradients = backward(graph, { wrt: [weight], seeds, rules, emit });
  expect(gradients.get(weight)?.shape).toEqual([3, 3]);
  checkGraph(graph);
});

// ONNX Runtime's search for common subexpressions alone takes 20 s here, and four times that for twice the length.
test("ONNX Runtime says the shapes of 20,000 nodes", async () => {
  const { graph, y } = chainOf("Relu");
  for (const value of graph.values) if (value.producer) value.shape = undefined;
  const { unknown } = await inferShapes(graph, nodeProbe);
  expect(unknown).toEqual([]);
  expect(y.shape).toEqual([2, 3]);
}, 60_000);
