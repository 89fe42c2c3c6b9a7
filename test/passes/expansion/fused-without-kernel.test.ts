import { describe, expect, it } from "vitest";
import { strip } from "../../../src/block/strip.ts";
import type { Value } from "../../../src/graph/node.ts";
import { differentiate, inject, inspect, responseAngles, som } from "../../../src/index.ts";
import type { Model } from "../../../src/onnx/model.ts";
import { Tensor } from "../../../src/onnx/tensor.ts";
import { equalBytes } from "../../../src/onnx/wire.ts";
import { builtModel, GraphBuilder } from "../../helpers/build-graph.ts";
import { randomFloats } from "../../helpers/numbers.ts";
import { runModel } from "../../helpers/run-model.ts";

/** An operator for which stock builds of ONNX Runtime have no kernel on the CPU, and the same in others, written by hand. */
interface Fused {
  readonly x: readonly number[];
  readonly weights: Readonly<Record<string, readonly number[]>>;
  readonly fused: (b: GraphBuilder, x: Value, weights: readonly Value[]) => Value;
  readonly plain: (b: GraphBuilder, x: Value, weights: readonly Value[]) => Value;
  readonly layers: number;
}

const number = (b: GraphBuilder, name: string, value: number): Value =>
  b.graph.addInitializer(Tensor.float(name, [], [value]));

/** exp(h)/Σ exp(h) over the last axis. */
function softmax(b: GraphBuilder, h: Value): Value {
  const e = b.op("Exp", [h], "e");
  return b.op("Div", [e, b.op("ReduceSum", [e, b.int64("last", [-1])], "sum")], "y");
}

const cases: Record<string, Fused> = {
  // Two neighbours in a row of pixels, side by side, times the kernel as a matrix; z is x's first pixels.
  NhwcFusedConv: {
    ...{ x: [2, 4, 3], weights: { w: [5, 3, 1, 2], bias: [5] }, layers: 1 },
    fused: (b, x, [w, bias]) => {
      const z = b.op("Slice", [x, b.int64("from", [0]), b.int64("to", [3]), b.int64("axis", [2])], "z");
      const wide = b.op(
        "Concat",
        [z, b.op("Slice", [z, b.int64("o", [0]), b.int64("two", [2]), b.int64("c", [3])], "z2")],
        "wide",
        { axis: 3 },
      );
      return b.op(
        "NhwcFusedConv",
        [x, w as Value, bias as Value, wide],
        "y",
        { kernel_shape: [1, 2], activation: "Tanh" },
        "com.microsoft",
      );
    },
    plain: (b, x, [w, bias]) => {
      const [none, three, axis] = [b.int64("from", [0]), b.int64("to", [3]), b.int64("axis", [2])];
      const z = b.op("Slice", [x, none, three, axis], "z");
      const next = b.op("Slice", [x, b.int64("one", [1]), b.int64("four", [4]), axis], "next");
      const pairs = b.op("Concat", [z, next], "pairs", { axis: 3 });
      const turned = b.op("Transpose", [w as Value], "turned", { perm: [3, 1, 0, 2] });
      const matrix = b.op("Reshape", [turned, b.int64("matrix shape", [6, 5])], "matrix");
      const h = b.op("Add", [b.op("MatMul", [pairs, matrix], "product"), bias as Value], "h");
      const wide = b.op(
        "Concat",
        [z, b.op("Slice", [z, none, b.int64("two", [2]), b.int64("c", [3])], "z2")],
        "wide",
        { axis: 3 },
      );
      return b.op("Tanh", [b.op("Add", [h, wide], "before")], "y");
    },
  },
  GemmFastGelu: {
    ...{ x: [4], weights: { w: [4, 5], bias: [5] }, layers: 1 },
    fused: (b, x, weights) => b.op("GemmFastGelu", [x, ...weights], "y", {}, "com.microsoft"),
    // h/2·(1 + tanh(√(2/π)·(h + 0.044715·h³)))
    plain: (b, x, [w, bias]) => {
      const h = b.op("Add", [b.op("MatMul", [x, w as Value], "product"), bias as Value], "h");
      const cube = b.op("Mul", [b.op("Mul", [h, h], "h2"), h], "h3");
      const inner = b.op("Add", [h, b.op("Mul", [cube, number(b, "c", 0.044715)], "ch3")], "inner");
      const t = b.op(
        "Tanh",
        [b.op("Mul", [inner, number(b, "root", Math.sqrt(2 / Math.PI))], "scaled")],
        "t",
      );
      const half = b.op("Mul", [h, number(b, "half", 0.5)], "half h");
      return b.op("Mul", [half, b.op("Add", [t, number(b, "unit", 1)], "t1")], "y");
    },
  },
  "FusedMatMulActivation of a layer": {
    ...{ x: [4], weights: { w: [5, 4] }, layers: 1 },
    fused: (b, x, [w]) =>
      b.op(
        "FusedMatMulActivation",
        [x, w as Value],
        "y",
        { transB: 1, alpha: 0.5, activation: "Softmax", activation_axis: -1 },
        "com.microsoft",
      ),
    plain: (b, x, [w]) => {
      const half = b.op("Mul", [x, number(b, "half", 0.5)], "half x");
      return softmax(
        b,
        b.op("MatMul", [half, b.op("Transpose", [w as Value], "turned", { perm: [1, 0] })], "product"),
      );
    },
  },
  "FusedMatMulActivation of two activations": {
    ...{ x: [3, 4], weights: { w: [4, 4] }, layers: 1 },
    fused: (b, x, [w]) =>
      b.op(
        "FusedMatMulActivation",
        [b.op("MatMul", [x, w as Value], "q"), x],
        "y",
        { transB: 1, alpha: 0.5, activation: "Softmax" },
        "com.microsoft",
      ),
    plain: (b, x, [w]) => {
      const scores = b.op(
        "MatMul",
        [b.op("MatMul", [x, w as Value], "q"), b.op("Transpose", [x], "k", { perm: [0, 2, 1] })],
        "scores",
      );
      return softmax(b, b.op("Mul", [scores, number(b, "half", 0.5)], "scaled"));
    },
  },
};

function modelOf({ x, weights, ...build }: Fused, form: "fused" | "plain"): Model {
  const b = new GraphBuilder(18, { "com.microsoft": 1 });
  const y = build[form](
    b,
    b.input("x", ["batch", ...x]),
    Object.entries(weights).map(([name, dims]) => b.weight(name, dims)),
  );
  b.output(b.op("ReduceMean", [b.op("Mul", [y, y], "squares")], "loss", { keepdims: 0 }));
  return builtModel(b);
}

describe("fused operators without a kernel on the CPU", () => {
  it.each(Object.keys(cases))(
    "%s: its layers, loss, penalty and gradients are those of the form by hand",
    async (name) => {
      const one = cases[name] as Fused;
      const [fused, plain] = [modelOf(one, "fused"), modelOf(one, "plain")];
      const dims = [6, ...one.x];
      const x = Tensor.float(
        "x",
        dims,
        randomFloats(
          "data",
          dims.reduce((a, c) => a * c, 1),
        ),
      );
      for (const penalties of [[], [som({ lambda1: 1 })]]) {
        const [found, wanted] = await Promise.all(
          [fused, plain].map(async (model) => {
            const gradient = await differentiate(model, { loss: "loss", batch: 6, penalties });
            const results = await runModel(gradient.model.bytes, { x });
            return [
              gradient.loss,
              ...Object.keys(one.weights).map((w) => gradient.gradients.get(w) ?? ""),
            ].map((output) => results[output]?.numbers() ?? []);
          }),
        );
        expect(found?.length).toBe(wanted?.length);
        wanted?.forEach((numbers, i) => {
          expect(numbers.length).toBeGreaterThan(0);
          const scale = Math.max(...numbers.map(Math.abs));
          const error = Math.max(
            ...numbers.map((value, j) => Math.abs(value - (found?.[i]?.[j] ?? Number.NaN))),
          );
          expect(error / scale).toBeLessThan(1e-5);
        });
      }
      const { sites } = await inspect(fused);
      expect(sites.length).toBe(one.layers);
      const injected = await inject(fused, { penalties: [som()] });
      expect(equalBytes(strip(injected).bytes, fused.bytes)).toBe(true);
      const angles = await Promise.all([fused, plain].map((model) => responseAngles(model, { x })));
      expect(angles[0]?.layers[0]?.mean).toBeCloseTo(angles[1]?.layers[0]?.mean ?? Number.NaN, 3);
    },
  );
});
