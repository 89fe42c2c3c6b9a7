import { describe, expect, test } from "vitest";
import { inferShapes } from "../../src/analysis/infer.ts";
import { findSites } from "../../src/analysis/sites.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import type { Shape } from "../../src/graph/shapes.ts";
import { Model } from "../../src/onnx/model.ts";
import { elementCount } from "../../src/onnx/tensor.ts";
import { muon, orthogonalize } from "../../src/optimizers/public.ts";
import type { LayerMatrix } from "../../src/optimizers/transformation.ts";
import { layerMatrices } from "../../src/programs/layer-matrices.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomNormals, relativeError } from "../helpers/numbers.ts";
import { referenceSteps, runSteps } from "./update-runner.ts";

const forms: Record<string, readonly [Shape, LayerMatrix]> = {
  "Gemm, units last, wide": [[3, 7], { unitAxis: 1, groups: 1, isOutput: false }],
  "Gemm, units first, tall": [[7, 3], { unitAxis: 0, groups: 1, isOutput: false }],
  convolution: [[4, 3, 2, 2], { unitAxis: 0, groups: 1, isOutput: false }],
  "grouped convolution": [[6, 2, 3], { unitAxis: 0, groups: 3, isOutput: false }],
  "transposed convolution": [[4, 3, 2, 2], { unitAxis: 1, groups: 1, isOutput: false }],
  "grouped transposed convolution": [[6, 2, 3], { unitAxis: 1, groups: 2, isOutput: false }],
};

describe("orthogonal updates", () => {
  for (const [name, [shape, matrix]] of Object.entries(forms)) {
    const values = (of: string) => Array.from(randomNormals(`${of} ${name}`, elementCount(shape)));
    const parameter = (type: "float" | "double") => ({
      ...{ name: "w", shape, matrix, type, start: values("w").map(Math.fround) },
    });
    const steps = [{ gradients: [values("gradient").map(Math.fround)], learningRate: 1 }];

    test.each([
      ["float", 1e-5],
      ["double", 1e-12],
    ] as const)(`of a ${name}, %s`, async (type, tolerance) => {
      for (const matchAdam of [true, false]) {
        const optimizer = orthogonalize({ matchAdam });
        const [graph] = await runSteps(optimizer, [parameter(type)], steps);
        const [reference] = referenceSteps(optimizer, [parameter(type)], steps);
        expect(relativeError(graph?.parameters[0] ?? [], reference?.parameters[0] ?? [])).toBeLessThan(
          tolerance,
        );
      }
    });

    test(`have singular values near 1: ${name}`, () => {
      const [after] = referenceSteps(
        orthogonalize({ matchAdam: false, steps: 8 }),
        [parameter("double")],
        steps,
      );
      const { start } = parameter("double");
      const change = start.map((value, i) => value - (after?.parameters[0]?.[i] ?? 0));
      // ‖U‖² is the sum of the squared singular values, each between 0.6 and 1.3.
      const { groups, unitAxis } = matrix;
      const kernel = elementCount(shape.slice(2));
      const [units, inputs] =
        unitAxis === 0
          ? [(shape[0] ?? 0) / groups, (shape[1] ?? 0) * kernel]
          : [shape[1] ?? 0, ((shape[0] ?? 0) / groups) * kernel];
      const scale = Math.sqrt(Math.max(1, units / inputs));
      const mean =
        change.reduce((sum, value) => sum + (value / scale) ** 2, 0) / (groups * Math.min(units, inputs));
      expect(mean).toBeGreaterThan(0.45);
      expect(mean).toBeLessThan(1.5);
    });
  }
});

test("embeddings, the output layer, biases and excluded weights are AdamW's", async () => {
  const b = new GraphBuilder();
  const ids = b.op("Cast", [b.input("x", [4, 5])], "ids", { to: 7 });
  const table = b.weight("table", [10, 6]);
  const looked = b.op("Gather", [table, ids], "looked");
  const hidden = b.op("Relu", [b.op("MatMul", [looked, b.weight("hidden", [6, 8])], "h")], "r");
  const narrow = b.op("MatMul", [hidden, b.weight("narrow", [8, 6])], "n");
  const out = b.op("MatMul", [narrow, b.op("Transpose", [table], "turned", { perm: [1, 0] })], "out");
  const graph = graphOf(Model.fromProto(graphToProto(b.output(out), { irVersion: 8 })));
  await inferShapes(graph, nodeProbe);
  const found = layerMatrices(findSites(graph).sites);
  expect([...found].map(([{ name }, { isOutput }]) => [name, isOutput])).toEqual([
    ["hidden", false],
    ["narrow", false],
  ]);
  const matrix = { unitAxis: 1, groups: 1, isOutput: false } as const;
  const specs = [
    { name: "hidden", shape: [6, 8], matrix },
    { name: "skip.hidden", shape: [6, 8], matrix },
    { name: "out", shape: [6, 8], matrix: { ...matrix, isOutput: true } },
    { name: "bias", shape: [8] },
  ].map((spec) => ({ ...spec, type: "float" as const }));
  const slots = muon({ exclude: /^skip/ }).init(specs);
  expect(slots.map(({ of, name }) => `${specs[of ?? -1]?.name}.${name}`)).toEqual([
    "hidden.m",
    ...["skip.hidden.m", "skip.hidden.v", "out.m", "out.v", "bias.m", "bias.v"],
  ]);
});
