import { expect, it } from "vitest";
import { inferShapes } from "../../src/analysis/infer.ts";
import { Emit } from "../../src/graph/emit.ts";
import { needsFullRank, type Operand } from "../../src/graph/emit-elementwise.ts";
import { Graph } from "../../src/graph/graph.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import type { Node, Value } from "../../src/graph/node.ts";
import { adamw, buildStep, crossEntropy, readModel, som } from "../../src/index.ts";
import { elementCount } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";

const elementwise = new Set(["Add", "Sub", "Mul", "Div", "Pow", "Greater", "Less", "Equal"]);

/** Whether ONNX Runtime takes the node number by number: a single number of lower rank beside a tensor that ends in axes of length 1. */
function isSlow(node: Node): boolean {
  if (!elementwise.has(node.opType)) return false;
  const [x, y] = node.inputs.map((input) => (input as Value).shape ?? []) as [number[], number[]];
  const beside = (number: readonly number[], tensor: readonly number[]) =>
    elementCount(number) === 1 && number.length < tensor.length && needsFullRank(tensor);
  return beside(x, y) || beside(y, x);
}

it("a step over 1×1 convolutions holds no number of lower rank beside their weights", async () => {
  const options = {
    objective: crossEntropy(),
    penalties: [{ penalty: som() }],
    optimizer: adamw(),
    batch: 4,
  };
  const graph = graphOf((await buildStep(await readModel("models/pointnet.onnx"), options)).model);
  await inferShapes(graph, nodeProbe, {});
  const weights = graph.inputs.filter(({ shape }) => (shape?.length ?? 0) > 1 && shape?.at(-1) === 1);
  expect(weights.length).toBeGreaterThan(0);
  expect(graph.nodes.filter(isSlow).map(({ label }) => label)).toEqual([]);
});

it.each(["add", "sub", "mul", "div", "pow", "greater", "max"] as const)(
  "%s gives numbers the tensor's rank",
  (name) => {
    const graph = new Graph("g", new Map([["", 18]]));
    const g = new Emit(graph, { prefix: "" });
    const tensor = graph.addInput("x", "float", [128, 64, 1, 1]);
    const scalar = graph.addInput("s", "float", []);
    const pairs: readonly [Operand, Operand][] = [
      [tensor, 2],
      [2, tensor],
      [tensor, scalar],
      [scalar, tensor],
    ];
    for (const operands of pairs) {
      const value = g[name](...operands);
      expect(value.shape).toEqual([128, 64, 1, 1]);
      expect(value.producer?.inputs.map((input) => input?.shape?.length)).toEqual([4, 4]);
    }
    // Elsewhere a scalar stays one.
    const other = g[name](graph.addInput("y", "float", [128, 64]), 2);
    expect(other.producer?.inputs.map((input) => input?.shape?.length)).toEqual([2, 0]);
  },
);
