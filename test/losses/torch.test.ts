import { describe, expect, test } from "vitest";
import { Emit } from "../../src/graph/emit.ts";
import { typed } from "../../src/graph/emit-base.ts";
import { Graph } from "../../src/graph/graph.ts";
import type { ObjectiveOptions } from "../../src/losses/objective.ts";
import { objectiveNamed } from "../../src/losses/table.ts";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { labels as classLabels, uniform } from "../helpers/lcg.ts";
import { runModel } from "../helpers/run-model.ts";
import { fixture, type Summary, summaryError } from "../oracles/references.ts";

interface TorchLoss {
  readonly objective: string;
  readonly case: string;
  readonly shape: readonly number[];
  readonly options: ObjectiveOptions;
  readonly value: number;
  readonly gradient: Summary;
}

const { objectives } = fixture<{ objectives: readonly TorchLoss[] }>("penalties.json");

// PyTorch's own losses and autograd, in float64.
describe.each(objectives)("$objective $case, $options", (of) => {
  const { shape, options } = of;
  const objective = objectiveNamed(of.objective, options);
  const count = elementCount(shape);
  const classes = of.objective === "cross-entropy";
  const name = classes ? `logits.${of.case}` : `prediction.${of.case}`;
  const prediction = uniform(name, count, 8);
  const numbers = classes
    ? classLabels(`labels.${of.case}`, count / (shape[1] as number), shape[1] as number)
    : Array.from(uniform(`labels.${of.case}`, count, 0.5), (value) => value + 0.5);

  test("on arrays", () => {
    const rows = shape[0] as number;
    const { loss, counted = rows, weight = counted } = objective.evaluate(prediction, numbers, rows, shape);
    expect(Math.abs(loss / weight / of.value - 1)).toBeLessThan(1e-12);
  });

  for (const [type, tolerance] of [
    ["double", 1e-12],
    ["float", 1e-6],
  ] as const) {
    test(`in a graph of ${type}`, async () => {
      const graph = new Graph("loss", new Map([["", 18]]));
      const labelShape = objective.labels.shape(shape);
      const x = typed(graph.addInput("x", type, shape));
      const y = typed(graph.addInput("y", objective.labels.type, labelShape));
      const { value, gradient } = objective.build(new Emit(graph, { prefix: "" }), x, y);
      for (const output of [value, gradient()]) graph.addOutput(output);
      const data = type === "double" ? Float64Array.from(prediction) : prediction;
      const labelData = classes ? Int32Array.from(numbers) : Float32Array.from(numbers);
      const outputs = Object.values(
        await runModel(graph, {
          x: Tensor.of("x", type, shape, data),
          y: Tensor.of("y", objective.labels.type, labelShape, labelData),
        }),
      );
      expect(Math.abs((outputs[0]?.numbers()[0] ?? Number.NaN) / of.value - 1)).toBeLessThan(tolerance);
      expect(summaryError(name, outputs[1]?.numbers() ?? [], of.gradient)).toBeLessThan(tolerance);
    });
  }
});
