import { describe, expect, it } from "vitest";
import { inferShapes } from "../../src/analysis/infer.ts";
import { Emit } from "../../src/graph/emit.ts";
import { needsFullRank, type Operand } from "../../src/graph/emit-elementwise.ts";
import { Graph } from "../../src/graph/graph.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import type { Node, Value } from "../../src/graph/node.ts";
import { addAdapters, buildStep, crossEntropy, inject, type Model, readModel, som } from "../../src/index.ts";
import { elementCount } from "../../src/onnx/tensor.ts";
import {
  accumulate,
  adamw,
  addDecayedWeights,
  averageEqually,
  averageWeights,
  chain,
  clipByGlobalNorm,
  clipByValue,
  decayWeights,
  type GradientTransformation,
  lion,
  optimizerNamed,
  optimizerNames,
} from "../../src/optimizers/public.ts";
import { penaltyNamed, penaltyNames } from "../../src/penalties/public.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { programsOf } from "../helpers/programs-of.ts";

const elementwise = new Set([
  ...["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Where"],
  ...["Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal"],
]);

/** Whether ONNX Runtime takes the node number by number: a single number of lower rank beside a tensor that ends in axes of length 1. */
function isSlow(node: Node): boolean {
  if (!elementwise.has(node.opType)) return false;
  const shapes = node.inputs.map((input) => (input as Value).shape ?? []);
  return shapes.some(
    (number) =>
      elementCount(number) === 1 &&
      shapes.some((tensor) => number.length < tensor.length && needsFullRank(tensor)),
  );
}

/** Nodes of a program over the 1×1 kernels of models/pointnet.onnx that ONNX Runtime computes slowly. */
async function slowNodes(model: Model, dimensions: { batch?: number } = {}): Promise<string[]> {
  const graph = graphOf(model);
  await inferShapes(graph, nodeProbe, dimensions);
  const large = graph.inputs.concat(graph.initializers).filter(({ shape }) => needsFullRank(shape ?? []));
  expect(large.length).toBeGreaterThan(0);
  return graph.nodes.filter(isSlow).map(({ label }) => label);
}

const pointnet = () => readModel("models/pointnet.onnx");
const options = { objective: crossEntropy(), batch: 8 };

describe("numbers beside 1×1 kernels have the kernels' rank", () => {
  it.each<[string, () => GradientTransformation]>([
    ...optimizerNames.map((name): [string, () => GradientTransformation] => [
      name,
      () => optimizerNamed(name),
    ]),
    ["clipped by the norm", () => chain(clipByGlobalNorm(1), adamw())],
    ["clipped by value", () => chain(clipByValue(1), lion({ weightDecay: 0.1 }))],
    ["decayed twice", () => chain(addDecayedWeights(0.1), adamw(), decayWeights(0.1))],
    ["accumulated", () => accumulate(2, adamw())],
    ["averaged", () => chain(adamw(), averageWeights(0.9))],
    ["averaged equally", () => chain(adamw(), averageEqually({ start: 2 }))],
  ])("in a step with the optimizer %s", async (_name, optimizer) => {
    const step = await buildStep(await pointnet(), { ...options, optimizer: optimizer() });
    expect(await slowNodes(step.model)).toEqual([]);
  });

  it("in a step whose groups wait, with rates of their own", async () => {
    const groups = [{ match: /conv/, learningRate: 0.1, freezeUntil: 5 }];
    const step = await buildStep(await pointnet(), { ...options, optimizer: adamw(), groups });
    expect(await slowNodes(step.model)).toEqual([]);
  });

  it.each(penaltyNames)("in a block of %s, and in its gradient", async (name) => {
    const penalties = [{ penalty: penaltyNamed(name) }];
    const injected = await inject(await pointnet(), { penalties, batch: 8 });
    expect(await slowNodes(injected, { batch: 8 })).toEqual([]);
    const step = await buildStep(await pointnet(), { ...options, penalties });
    expect(await slowNodes(step.model)).toEqual([]);
  });

  it.each([{ rank: 4 }, { rank: 4, dora: true }, { ia3: true }])("beside adapters %j", async (adapter) => {
    const adapted = await addAdapters(await pointnet(), { ...adapter, include: /./ });
    expect(await slowNodes(adapted, { batch: 8 })).toEqual([]);
    expect(await slowNodes((await buildStep(adapted, options)).model)).toEqual([]);
  });

  it("in every program", async () => {
    const programs = await programsOf(await pointnet(), { penalties: [{ penalty: som() }], batch: 8 });
    for (const [name, program] of Object.entries(programs)) {
      // ONNX Runtime's inference build does not open the artifacts of its training API; the loop's body is the step.
      if (name === "loop" || name.startsWith("artifacts")) continue;
      expect([name, await slowNodes(program)]).toEqual([name, []]);
    }
  });
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
    if (name === "add") {
      const condition = graph.addInput("c", "bool", []);
      const chosen = g.where(condition, tensor, tensor);
      expect(chosen.producer?.inputs.map((input) => input?.shape?.length)).toEqual([4, 4, 4]);
    }
    // Elsewhere a scalar stays one.
    const other = g[name](graph.addInput("y", "float", [128, 64]), 2);
    expect(other.producer?.inputs.map((input) => input?.shape?.length)).toEqual([2, 0]);
  },
);
