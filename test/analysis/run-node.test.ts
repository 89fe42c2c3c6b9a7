import { describe, expect, it } from "vitest";
import { inferShapes } from "../../src/analysis/infer.ts";
import { findSites } from "../../src/analysis/sites.ts";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { inject } from "../../src/inject/inject.ts";
import { meanSquaredError } from "../../src/losses/elementwise.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { som } from "../../src/penalties/som.ts";
import { differentiate } from "../../src/programs/differentiate.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomNormals } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";

/** x: [N, 6] → an operator of ai.onnx.ml → MatMul (5 units) → Relu → MatMul (3 units). */
function behind(op: string, attributes: Record<string, number | string | readonly number[]>): GraphBuilder {
  const b = new GraphBuilder(17, { "ai.onnx.ml": 3 });
  const floats = (value: number | string | readonly number[]) =>
    Array.isArray(value) ? ({ kind: "floats", value } as const) : value;
  const made = Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [
      name,
      name === "inputdimensions" ? value : floats(value as number),
    ]),
  ) as Record<string, number>;
  const s: Value = b.op(op, [b.input("x", ["N", 6])], "s", made, "ai.onnx.ml");
  const h = b.op("MatMul", [s, b.weight("w", [6, 5])], "h");
  b.output(b.op("MatMul", [b.op("Relu", [h], "r"), b.weight("v", [5, 3])], "y"));
  return b;
}

describe("layers behind operators whose shapes only ONNX Runtime's kernels know", () => {
  it.each<[string, Record<string, number | string | readonly number[]>]>([
    ["Scaler", { offset: [0, 0, 0, 0, 0, 0.5], scale: [1, 1, 1, 1, 1, 2] }],
    ["Imputer", { imputed_value_floats: [0, 0, 0, 0, 0, 0], replaced_value_float: 0.5 }],
    ["Normalizer", { norm: "L2" }],
    ["Binarizer", { threshold: 0.5 }],
    ["FeatureVectorizer", { inputdimensions: [6] }],
    [
      "LinearRegressor",
      { targets: 6, coefficients: new Array(36).fill(0.5), intercepts: new Array(6).fill(0.25) },
    ],
  ])("%s", async (op, attributes) => {
    const { graph } = behind(op, attributes);
    await inferShapes(graph, nodeProbe);
    expect(graph.valueNamed("s")).toMatchObject({ shape: [12, 6], freeAxes: [0] });
    expect(findSites(graph).sites.map(({ name, units }) => [name, units])).toEqual([
      ["h", 5],
      ["y", 3],
    ]);
  });

  it("are injected and differentiated", async () => {
    const { graph } = behind("Scaler", { offset: [0, 0, 0, 0, 0, 0.5], scale: [1, 1, 1, 1, 1, 2] });
    const model = Model.fromBytes(encodeModelProto(graphToProto(graph)));
    const x = Tensor.float("x", [4, 6], randomNormals("x", 24));
    const injected = await runModel((await inject(model, { penalties: [som()] }, nodeProbe)).bytes, { x });
    expect(injected.sorth_penalty?.numbers()[0]).toBeGreaterThan(0);
    const whole = await differentiate(model, { objective: meanSquaredError(), batch: 4 }, nodeProbe);
    expect([...whole.gradients.keys()]).toEqual(["w", "v"]);
  });
});
