import { inferShapes } from "../../../src/analysis/infer.ts";
import { rules } from "../../../src/autodiff/table.ts";
import { backward } from "../../../src/autodiff/walk.ts";
import type { Emit } from "../../../src/graph/emit.ts";
import { typed } from "../../../src/graph/emit-base.ts";
import type { Graph } from "../../../src/graph/graph.ts";
import type { DataTypeName } from "../../../src/onnx/data-types.ts";
import { elementCount, Tensor } from "../../../src/onnx/tensor.ts";
import type { LayoutCosts } from "../../../src/passes/layout/costs.ts";
import { rowsLayout } from "../../../src/passes/layout/rows-layout.ts";
import { runPass } from "../../../src/passes/pass.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { randomFloats } from "../../helpers/numbers.ts";
import { passContext } from "../../helpers/pass-context.ts";
import { runModel } from "../../helpers/run-model.ts";

/** Costs by which everything works on rows that can. */
export const allOnRows: LayoutCosts = {
  convolution: () => ({ images: 1e9, rows: 0 }),
  normalization: () => ({ images: 1e6, rows: 0 }),
  conversion: () => 1,
};

/** Numbers by name: the outputs of a graph, and `<input>_grad` of Σ output·weights for every float input. */
export type Numbers = Readonly<Record<string, readonly number[]>>;

/** Seeded numbers for an input; those of variances and scales are positive. */
export function fed(name: string, shape: readonly number[], type: DataTypeName): Tensor {
  const [low, high] = /variance|scale/.test(name) ? [0.5, 1.5] : [-1, 1];
  const numbers = randomFloats(name, elementCount(shape), low, high);
  return Tensor.of(name, type, shape, type === "double" ? Float64Array.from(numbers) : numbers);
}

/** Runs a graph and the gradients of its first output, as it is or on rows. */
export async function numbersOf(
  build: () => Graph,
  {
    onRows,
    wrt,
    type = "float",
    block = 0,
  }: {
    readonly onRows: boolean;
    readonly wrt: readonly string[];
    readonly type?: "float" | "double";
    readonly block?: number;
  },
): Promise<{ readonly numbers: Numbers; readonly ops: readonly string[]; readonly detail: string }> {
  const graph = build();
  await inferShapes(graph, nodeProbe, {});
  // Shapes are inferred in float32, because ONNX Runtime has no float64 convolution.
  for (const value of graph.values) if (value.type === "float") value.type = type;
  const context = passContext(graph);
  let detail = "";
  if (onRows) {
    const pass = rowsLayout({ costs: allOnRows, trained: new Set(wrt), block });
    detail = (await pass.run(graph, context)).detail;
    await runPass(rowsLayout({ costs: allOnRows, trained: new Set(wrt), block }), graph, context);
  }
  const ops = graph.sorted().map(({ op }) => op);
  const emit = context.emit as Emit;
  const y = typed(graph.outputs[0] ?? graph.valueNamed("y"));
  const weights = emit.tensorConstant(fed("direction", y.shape, y.type));
  const inputs = wrt.map((name) => graph.valueNamed(name));
  const gradients = backward(graph, {
    wrt: inputs,
    seeds: [{ value: y, gradient: () => weights }],
    rules,
    emit,
  });
  const names = [y.name];
  for (const [input, gradient] of gradients) {
    names.push(`${input.name}_grad`);
    graph.addOutput(emit.identity(gradient));
  }
  graph.prune();
  const feeds = Object.fromEntries(
    graph.inputs.map((input) => [input.name, fed(input.name, typed(input).shape, typed(input).type)]),
  );
  const results = Object.values(
    await runModel(graph, feeds, { outputs: graph.outputs.map(({ name }) => name) }),
  );
  const numbers = Object.fromEntries(names.map((name, i) => [name, [...(results[i] as Tensor).numbers()]]));
  return { numbers, ops, detail };
}
