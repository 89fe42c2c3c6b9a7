import { expect, test } from "vitest";
import { Tensor } from "../../../src/onnx/tensor.ts";
import { readTransposed } from "../../../src/passes/backends/read-transposed.ts";
import { runPass } from "../../../src/passes/pass.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { inferred } from "../../helpers/inferred.ts";
import { randomFloats } from "../../helpers/numbers.ts";
import { passContext } from "../../helpers/pass-context.ts";
import { runModel } from "../../helpers/run-model.ts";

const shapes: Record<string, { a: readonly number[]; b: readonly number[]; gemm?: boolean }> = {
  "rows by matrix": { a: [5, 30], b: [40, 30] },
  "batch by matrix": { a: [2, 3, 5, 30], b: [40, 30] },
  Gemm: { a: [5, 30], b: [40, 30], gemm: true },
};

for (const weightFirst of [false, true]) {
  test.each(Object.entries(shapes))(
    `the same product of stored weights: %s, ${weightFirst ? "weight first" : "weight last"}`,
    async (_, { a, b, gemm }) => {
      const make = () => {
        const builder = new GraphBuilder();
        const swap = [...b.keys()].slice(0, -2).concat(b.length - 1, b.length - 2);
        const x = builder.input("x", weightFirst ? [...a.slice(0, -2), 30, 5] : a);
        const w = builder.weight("w", weightFirst ? [...b.slice(0, -2), 30, 40] : b);
        const turned = builder.op("Transpose", [w], "turned", { perm: swap });
        const operands = weightFirst ? [turned, x] : [x, turned];
        return inferred(builder.output(builder.op(gemm ? "Gemm" : "MatMul", operands, "y")));
      };
      const [plain, stored] = [await make(), await make()];
      await runPass(readTransposed({ least: 0 }), stored, passContext(stored));
      // A product of a batch by a matrix on its left is no product of two matrices.
      const stays = weightFirst && a.length > 2;
      expect(stored.nodes.some(({ op }) => op === "Transpose")).toBe(stays);
      const x = plain.valueNamed("x").shape ?? [];
      const feeds = {
        x: Tensor.float(
          "x",
          x,
          randomFloats(
            "x",
            x.reduce((p, n) => p * n, 1),
          ),
        ),
      };
      const [before, after] = [await runModel(plain, feeds), await runModel(stored, feeds)];
      const expected = before.y?.numbers() ?? [];
      expect(expected.length).toBeGreaterThan(0);
      after.y?.numbers().forEach((number, i) => {
        expect(number).toBeCloseTo(expected[i] ?? Number.NaN, 5);
      });
    },
  );
}
