import { describe, expect, test } from "vitest";
import { Emit } from "../../src/graph/emit.ts";
import { type Typed, typed } from "../../src/graph/emit-base.ts";
import { Graph } from "../../src/graph/graph.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { Model } from "../../src/onnx/model.ts";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { differentiate, type GradientModel } from "../../src/programs/differentiate.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { randomFloats } from "../helpers/numbers.ts";

/** A float64 network with the loss inside: x [4, 3] → Tanh MLP → mean square, a scalar `loss`. */
function network(): Model {
  const graph = new Graph("network", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "layer/" });
  const weight = (name: string, dims: readonly number[]) =>
    graph.addInitializer(
      Tensor.of(name, "double", dims, Float64Array.from(randomFloats(name, elementCount(dims)))),
    ) as Typed;
  const x = graph.addInput("x", "double", [4, 3]) as Typed;
  const hidden = g.tanh(g.add(g.matMul(x, weight("a.weight", [3, 5])), weight("a.bias", [5])));
  const y = g.sigmoid(g.add(g.matMul(hidden, weight("b.weight", [5, 2])), weight("b.bias", [2])));
  const loss = g.reduceMean(g.square(y));
  graph.rename(loss, "loss");
  graph.addOutput(loss);
  return modelOf(graph);
}

const modelOf = (graph: Graph): Model => Model.fromProto(graphToProto(graph, { irVersion: 9 }));
const x = Tensor.of("x", "double", [4, 3], Float64Array.from(randomFloats("x", 12)));
const run = async ({ model }: { model: Model }, feeds: readonly Tensor[] = [x]) =>
  nodeProbe.run(model.bytes, new Map(feeds.map((tensor) => [tensor.name, tensor])));
const numbers = (outputs: ReadonlyMap<string, Tensor>, name = "") => outputs.get(name)?.numbers() ?? [];

/** The model with an output `penalty`: the mean of (‖g‖ − 1)² over the rows of a gradient g: [batch, features]. */
function withGradientPenalty(gradient: GradientModel, of: string): Model {
  const graph = graphOf(gradient.model);
  const g = new Emit(graph, { prefix: "penalty/" });
  const value = graph.valueNamed(gradient.gradients.get(of) ?? "");
  value.type = "double";
  value.shape = [4, 3];
  const norm = g.sqrt(g.reduceSum(g.square(typed(value)), [1]));
  const penalty = g.reduceMean(g.square(g.sub(norm, 1)));
  graph.rename(penalty, "penalty");
  graph.outputs.length = 0;
  graph.addOutput(penalty);
  return modelOf(graph);
}

describe("a gradient penalty (as in WGAN-GP)", () => {
  test("gets its weights' gradients by differentiating the gradient graph", async () => {
    const first = await differentiate(network(), { loss: "loss", wrtInputs: /^x$/ }, nodeProbe);
    const penalized = withGradientPenalty(first, "x");
    const second = await differentiate(penalized, { loss: "penalty" }, nodeProbe);
    expect([...second.gradients.keys()].sort()).toEqual(["a.bias", "a.weight", "b.bias", "b.weight"]);
    const computed = await run(second);

    for (const name of second.gradients.keys()) {
      const at = async (step: number) => {
        const graph = graphOf(penalized);
        const value = graph.valueNamed(name);
        const tensor = value.initializer as Tensor;
        const moved = Float64Array.from(tensor.numbers(), (number, i) => number + step * Math.sin(i + 1));
        value.initializer = Tensor.of(name, "double", tensor.dims, moved);
        return numbers(await run({ model: modelOf(graph) }), "penalty")[0] ?? Number.NaN;
      };
      const numeric = ((await at(1e-5)) - (await at(-1e-5))) / 2e-5;
      const gradient = numbers(computed, second.gradients.get(name));
      const analytic = gradient.reduce((sum, number, i) => sum + number * Math.sin(i + 1), 0);
      const scale = Math.hypot(...gradient);
      expect(scale).toBeGreaterThan(1e-4);
      expect(Math.abs(analytic - numeric) / scale, name).toBeLessThan(1e-7);
    }
  });
});

describe("differentiate twice", () => {
  test("the second derivative of the loss along a weight's gradient agrees with finite differences", async () => {
    const first = await differentiate(network(), { loss: "loss", wrt: /^a\.weight$/ }, nodeProbe);
    const graph = graphOf(first.model);
    const g = new Emit(graph, { prefix: "square/" });
    const gradient = graph.valueNamed(first.gradients.get("a.weight") ?? "");
    gradient.type = "double";
    gradient.shape = [3, 5];
    const square = g.reduceSum(g.square(gradient));
    graph.rename(square, "square");
    graph.outputs.length = 0;
    graph.addOutput(square);
    const second = await differentiate(modelOf(graph), { loss: "square", wrt: /^b\.weight$/ }, nodeProbe);
    const analytic = numbers(await run(second), "b.weight_grad");
    const at = async (index: number, step: number) => {
      const copy = graphOf(second.model);
      const value = copy.valueNamed("b.weight");
      const moved = Float64Array.from((value.initializer as Tensor).numbers());
      moved[index] = (moved[index] ?? 0) + step;
      value.initializer = Tensor.of("b.weight", "double", [5, 2], moved);
      return numbers(await run({ model: modelOf(copy) }), second.loss)[0] ?? Number.NaN;
    };
    const scale = Math.max(...analytic.map(Math.abs));
    for (const index of analytic.keys()) {
      const numeric = ((await at(index, 1e-5)) - (await at(index, -1e-5))) / 2e-5;
      expect(Math.abs((analytic[index] ?? 0) - numeric) / scale).toBeLessThan(1e-6);
    }
  });
});

describe("the gradient graph", () => {
  test("has no node whose value nobody reads, and no constant that nobody reads", async () => {
    const first = await differentiate(network(), { loss: "loss", wrtInputs: /^x$/ }, nodeProbe);
    const second = await differentiate(withGradientPenalty(first, "x"), { loss: "penalty" }, nodeProbe);
    for (const { model } of [first, second]) {
      const graph = graphOf(model);
      const unread = [...graph.values].filter(
        (value) => value.uses.size === 0 && !graph.outputs.includes(value),
      );
      expect(unread.map(({ name }) => name)).toEqual([]);
    }
  });

  test("says which inputs there are when none matches", async () => {
    await expect(differentiate(network(), { loss: "loss", wrtInputs: /nothing/ }, nodeProbe)).rejects.toThrow(
      "no input of floats matches /nothing/; those inputs are x",
    );
  });
});
