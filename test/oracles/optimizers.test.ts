import { describe, expect, test } from "vitest";
import { Emit } from "../../src/graph/emit.ts";
import { typed } from "../../src/graph/emit-base.ts";
import { Graph } from "../../src/graph/graph.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { uniform } from "../helpers/lcg.ts";
import { maxDifference } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";
import { optimizerOf, type TorchOptimizer } from "./optimizer-of.ts";
import { fixture } from "./references.ts";

const { updates } = fixture<{
  updates: readonly { options: TorchOptimizer; values: readonly (readonly number[])[] }[];
}>("training/training.json");

const shape = [4, 3];

// PyTorch in float64, given the same gradients.
describe.each(updates)("$options", ({ options, values }) => {
  const optimizer = optimizerOf(options);

  test("updates in a float32 graph", async () => {
    const graph = new Graph("update", new Map([["", 18]]));
    const input = (name: string, of: readonly number[] = []) => typed(graph.addInput(name, "float", of));
    const slots = optimizer.slots.map((slot) => input(slot, shape));
    const next = optimizer.update(new Emit(graph, { prefix: "" }), {
      parameter: input("parameter", shape),
      gradient: input("gradient", shape),
      slots,
      learningRate: input("rate"),
      step: input("step"),
    });
    for (const output of [next.parameter, ...next.slots]) graph.addOutput(output);

    let state = [uniform("update.parameter", 12), ...slots.map(() => new Float32Array(12))];
    for (const [step, expected] of values.entries()) {
      const feeds: Record<string, Tensor> = {
        gradient: Tensor.float("gradient", shape, uniform(`update.gradient.${step}`, 12)),
        rate: Tensor.float("rate", [], [options.lr]),
        step: Tensor.float("step", [], [step + 1]),
      };
      for (const [i, name] of ["parameter", ...optimizer.slots].entries()) {
        feeds[name] = Tensor.float(name, shape, state[i] ?? []);
      }
      const results = await runModel(graph, feeds);
      state = [next.parameter, ...next.slots].map(({ name }) =>
        Float32Array.from(results[name]?.numbers() ?? []),
      );
      expect(maxDifference(state[0] ?? [], expected)).toBeLessThan(1e-6);
    }
  });

  test("updates of the float64 reference", () => {
    let parameter = Array.from(uniform("update.parameter", 12));
    let slots = optimizer.slots.map(() => new Array<number>(12).fill(0));
    for (const [step, expected] of values.entries()) {
      const gradient = Array.from(uniform(`update.gradient.${step}`, 12));
      const inputs = { parameter, gradient, slots, learningRate: options.lr, step: step + 1 };
      ({ parameter, slots } = optimizer.reference(inputs));
      expect(maxDifference(parameter, expected)).toBeLessThan(1e-13);
    }
  });
});
