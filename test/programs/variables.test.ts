import { expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import { type DifferentiateOptions, differentiate } from "../../src/index.ts";
import { Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { builtModel, GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";

const [rows, columns] = [5, 3];
const delta = randomFloats("delta", columns);

/** Σ (coords + delta − ref)²: `grid` is the name of a constant. With a weight, coords are multiplied by it. */
function modelOf({ weight = false } = {}): Model {
  const b = new GraphBuilder(17);
  const coords = b.input("coords", [rows, columns]);
  const moved = weight
    ? b.op("Relu", [b.op("MatMul", [coords, b.weight("weight", [columns, columns])], "m")], "r")
    : coords;
  const shift = b.graph.addInitializer(Tensor.float("grid", [columns], delta));
  const d = b.op("Sub", [b.op("Add", [moved, shift], "c"), b.input("ref", [rows, columns])], "d");
  b.output(b.op("ReduceSum", [b.op("Mul", [d, d], "q")], "loss", { keepdims: 0 }));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 9 }));
}

const gradients = async (model: Model, options: DifferentiateOptions) =>
  differentiate(model, { loss: "loss", ...options });

test("an initializer asked for by name has its gradient, parameter or not", async () => {
  const { model } = await gradients(modelOf(), { wrt: /^grid$/ });
  const [coords, ref] = [randomFloats("coords", rows * columns), randomFloats("ref", rows * columns)];
  const results = await runModel(model.bytes, {
    coords: Tensor.float("coords", [rows, columns], coords),
    ref: Tensor.float("ref", [rows, columns], ref),
  });
  const expected = Array.from(delta, (shift, column) => {
    let sum = 0;
    for (let i = column; i < coords.length; i += columns)
      sum += 2 * ((coords[i] as number) + shift - (ref[i] as number));
    return sum;
  });
  results.grid_grad?.numbers().forEach((value, i) => {
    expect(value).toBeCloseTo(expected[i] as number, 4);
  });
  expect(results.grid_grad?.dims).toEqual([columns]);
});

test("without a parameter, the message names what can be asked for", async () => {
  await expect(gradients(modelOf(), {})).rejects.toThrow(
    "no initializer looks like a parameter; others are grid: name those that are variables (--wrt)",
  );
});

test("a wide pattern takes parameters, and says what else it matches", async () => {
  const said: string[] = [];
  const { gradients: names } = await gradients(modelOf({ weight: true }), {
    wrt: /./,
    onMessage: (message) => said.push(message),
  });
  expect([...names.keys()]).toEqual(["weight"]);
  expect(said.join()).toContain("also matches grid, not taken for parameters");
});

test("every input that matches has its gradient, also where the pattern remembers its last match", async () => {
  const { gradients: names } = await gradients(modelOf(), { wrt: /^grid$/, wrtInputs: /[a-z]$/g });
  expect([...names.keys()]).toEqual(["grid", "coords", "ref"]);
});

test("without a parameter, the message names the operator that keeps its weights to itself", async () => {
  const forest = new GraphBuilder(18, { "ai.onnx.ml": 3 });
  const linear = { coefficients: [1.5, 2.5], intercepts: [0.5] };
  forest.output(forest.op("LinearRegressor", [forest.input("x", [4, 2])], "scores", linear, "ai.onnx.ml"));
  await expect(gradients(builtModel(forest), { loss: "scores" })).rejects.toThrow(
    'no initializer looks like a parameter (LinearRegressor "scores": its weights are attributes of the operator, which no training reaches; write it as Gemm (or a Linear layer) to train it); name inputs or inner values (--wrt)',
  );
});
