import { describe, expect, it } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  adamw,
  buildSplitStep,
  buildStep,
  encodeModel,
  Model,
  meanSquaredError,
  type StepOptions,
  sgd,
  Tensor,
} from "../../src/index.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { runModel } from "../helpers/run-model.ts";

/** Float32 weights whose product goes on in float64: y = cast(x·w) · c. */
function model(): Model {
  const b = new GraphBuilder(18);
  const product = b.op("MatMul", [b.input("x", [2, 3]), b.weight("w", [3, 2])], "product");
  const wide = b.op("Cast", [product], "wide", { to: 11 });
  const factor = b.graph.addInitializer(Tensor.of("factor", "double", [2], Float64Array.of(0.5, -2)));
  return Model.fromProto(graphToProto(b.output(b.op("Mul", [wide, factor], "y"))));
}

const options: StepOptions = {
  objective: meanSquaredError(),
  optimizer: sgd(),
  freeze: /factor/,
};

describe("a model that holds float32 weights and computes its loss in float64", () => {
  it("is trained: the update is the one by hand", async () => {
    const step = await buildStep(model(), options);
    const w = step.initial.get("w") as Tensor;
    const x = [1, 2, 3, -1, 0.5, 2];
    const target = [0.3, -0.7, 0.1, 0.9];
    const rate = 0.1;
    const outputs = await runModel(encodeModel(step.model), {
      x: Tensor.float("x", [2, 3], x),
      w,
      labels: Tensor.of("labels", "double", [2, 2], Float64Array.from(target)),
      learning_rate: Tensor.of("learning_rate", "double", [], Float64Array.of(rate)),
      step: Tensor.of("step", "double", [], Float64Array.of(1)),
    });
    const weights = w.numbers();
    const factor = [0.5, -2];
    const expected = weights.map((weight, at) => {
      const [row, column] = [Math.floor(at / 2), at % 2];
      let slope = 0;
      for (const sample of [0, 1]) {
        let product = 0;
        for (let k = 0; k < 3; k++)
          product += (x[sample * 3 + k] as number) * (weights[k * 2 + column] as number);
        const difference = product * (factor[column] as number) - (target[sample * 2 + column] as number);
        slope += (2 / 4) * difference * (factor[column] as number) * (x[sample * 3 + row] as number);
      }
      return weight - rate * slope;
    });
    const found = outputs["w.next"]?.numbers() ?? [];
    for (const [at, value] of expected.entries()) expect(found[at]).toBeCloseTo(value, 6);
  });

  it("has a step in two graphs too, and one of AdamW", async () => {
    const split = await buildSplitStep(model(), { ...options, optimizer: adamw() });
    const w = split.initial.get("w") as Tensor;
    const slot = (name: string) => Tensor.float(name, [3, 2], new Float32Array(6));
    const outputs = await runModel(encodeModel(split.update), {
      w,
      "w.grad": Tensor.float("w.grad", [3, 2], [1, -1, 1, 1, -1, 1]),
      "w.m": slot("w.m"),
      "w.v": slot("w.v"),
      learning_rate: Tensor.of("learning_rate", "double", [], Float64Array.of(0.01)),
      step: Tensor.of("step", "double", [], Float64Array.of(1)),
    });
    // The first step of AdamW goes by the learning rate against the sign of the gradient, after 1 % · 0.01 of decay.
    const next = outputs["w.next"]?.numbers() ?? [];
    const signs = [1, -1, 1, 1, -1, 1];
    for (const [at, weight] of w.numbers().entries()) {
      expect(next[at]).toBeCloseTo(weight * (1 - 0.01 * 0.01) - 0.01 * (signs[at] as number), 5);
    }
  });
});
