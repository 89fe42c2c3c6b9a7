import { describe, expect, test } from "vitest";
import { differentiate } from "../../../src/index.ts";
import type { Model } from "../../../src/onnx/model.ts";
import { Tensor } from "../../../src/onnx/tensor.ts";
import { body, checkGradients, DoubleBuilder, doubles, loopInputs, operatorsOf } from "./models.ts";

const x = doubles("x", [2, 3]);

/** h ← tanh(h·W + b) as often as `trips` says, every h stacked: the weights lie outside of the body. */
function recurrent(trips: (b: DoubleBuilder) => (ReturnType<DoubleBuilder["int64"]> | null)[]): Model {
  const b = new DoubleBuilder();
  b.input("x", [2, 3], "double");
  b.weight("cell.weight", [3, 3]);
  b.weight("cell.bias", [3]);
  const [last, all] = b.many("Loop", [...trips(b), b.graph.valueNamed("x")], ["last", "all"], {
    body: body((l) => {
      const [, going] = loopInputs(l);
      const h = l.input("h", undefined, "double");
      const sum = l.op(
        "Add",
        [l.op("MatMul", [h, l.outer("cell.weight")], "product"), l.outer("cell.bias")],
        "sum",
      );
      const next = l.op("Tanh", [sum], "next");
      return [l.op("Identity", [going], "still"), next, l.op("Mul", [next, next], "row")];
    }),
  });
  return b.loss(b.op("Add", [last ?? null, all ?? null], "y"));
}

describe("Loop", () => {
  test("a Linear inside its body trains", async () => {
    const model = recurrent((b) => [b.int64("n", 4), null]);
    expect(await checkGradients(model, { x }, { wrtInputs: /x/ })).toEqual(["cell.weight", "cell.bias", "x"]);
    const { model: gradient } = await differentiate(model, { loss: "loss" });
    expect(operatorsOf(gradient)).not.toContain("Loop");
  });

  test("its trip count may follow from a shape, its condition be true", async () => {
    const model = recurrent((b) => {
      const rows = b.op(
        "Gather",
        [b.op("Shape", [b.graph.valueNamed("x")], "shape"), b.int64("zero", 0)],
        "rows",
      );
      return [rows, b.bool("yes", true)];
    });
    expect(await checkGradients(model, { x })).toEqual(["cell.weight", "cell.bias"]);
  });

  test("a count or condition from data is refused, naming the value", async () => {
    const fed = recurrent((b) => [b.input("n", [], "int64"), null]);
    await expect(differentiate(fed, { loss: "loss" })).rejects.toThrow(
      'cannot differentiate Loop (node "last"): its trip count "n" is computed from data; without it the shape of "loss" is not known',
    );
    const conditional = recurrent((b) => [b.int64("n", 3), b.input("go", [], "bool")]);
    await expect(differentiate(conditional, { loss: "loss" })).rejects.toThrow(
      'its condition "go" is computed from data',
    );
    await expect(
      differentiate(
        recurrent(() => [null, null]),
        { loss: "loss" },
      ),
    ).rejects.toThrow("it never ends");
    await expect(
      differentiate(
        recurrent((b) => [b.int64("n", 1e9), null]),
        { loss: "loss" },
      ),
    ).rejects.toThrow("it would unroll into more than 200000 nodes");
  });

  /** while (counter < limit) h ← sin(h·W), counter ← counter + 2, with an If on the counter's parity in the body. */
  function counting(limit: (b: DoubleBuilder) => void): Model {
    const b = new DoubleBuilder();
    b.input("x", [2, 3], "double");
    b.weight("cell.weight", [3, 3]);
    limit(b);
    const outputs = b.many(
      "Loop",
      [null, b.bool("start", true), b.int64("c0", 0), b.graph.valueNamed("x")],
      ["c", "h"],
      {
        body: body((l) => {
          loopInputs(l);
          const counter = l.input("counter", [], "int64");
          const h = l.input("h_in", undefined, "double");
          const next = l.op("Add", [counter, l.int64("two", 2)], "counter_next");
          const deep = l.op("Greater", [counter, l.int64("one", 1)], "deep");
          const y = l.op("If", [deep], "h_next", {
            then_branch: body((t) => [
              t.op("Sin", [t.op("MatMul", [t.outer("h_in"), t.outer("cell.weight")], "product")], "t"),
            ]),
            else_branch: body((e) => [e.op("Exp", [e.outer("h_in")], "e")]),
          });
          void h;
          return [l.op("Less", [next, l.outer("limit")], "more"), next, y];
        }),
      },
    );
    return b.loss(outputs[1] as NonNullable<(typeof outputs)[1]>);
  }

  test("a condition that follows from constants ends it; an If on them inside takes its branch", async () => {
    const model = counting((b) => void b.int64("limit", 7));
    expect(await checkGradients(model, { x }, { wrtInputs: /x/ })).toEqual(["cell.weight", "x"]);
    const { model: gradient } = await differentiate(model, { loss: "loss" });
    expect(operatorsOf(gradient).filter((op) => op === "If" || op === "Loop")).toEqual([]);
    // Counters 0, 2, 4, 6: four trips, three of them through the product and its two gradients.
    expect(operatorsOf(gradient).filter((op) => op === "Exp")).toHaveLength(1);
    await expect(
      differentiate(
        counting((b) => void b.input("limit", [], "int64")),
        { loss: "loss" },
      ),
    ).rejects.toThrow('its condition depends on "limit", which is computed from data');
    await expect(
      differentiate(
        counting((b) => void b.int64("limit", 1e6)),
        { loss: "loss" },
      ),
    ).rejects.toThrow("it would unroll into more than 200000 nodes");
  });

  test("an If on data inside, and a Loop inside it", async () => {
    const b = new DoubleBuilder();
    b.input("x", [2, 3], "double");
    b.weight("W.weight", [3, 3]);
    const h = b.op("Loop", [b.int64("n", 3), null, b.graph.valueNamed("x")], "h", {
      body: body((l) => {
        const [, going] = loopInputs(l);
        const state = l.input("state", undefined, "double");
        const sum = l.op("ReduceSum", [state], "sum", { keepdims: 0 });
        const positive = l.op("Greater", [sum, l.numbers("zero", [], [0])], "positive");
        const next = l.op("If", [positive], "next", {
          then_branch: body((t) => [
            t.op("Loop", [t.int64("m", 2), null, t.outer("state")], "then_out", {
              body: body((m) => {
                const [, inner] = [m.input("trip2", [], "int64"), m.input("going2", [], "bool")];
                const s = m.input("s", undefined, "double");
                const product = m.op("MatMul", [s, m.outer("W.weight")], "product");
                return [m.op("Identity", [inner], "still2"), m.op("Sub", [product, m.outer("x")], "s_next")];
              }),
            }),
          ]),
          else_branch: body((e) => [
            e.op("Mul", [e.op("Cos", [e.outer("state")], "cos"), e.outer("state")], "else_out"),
          ]),
        });
        return [l.op("Identity", [going], "still"), next];
      }),
    });
    const model = b.loss(h);
    for (const sign of [1, -1]) {
      const data = Float64Array.from(x.numbers(), (value) => sign * Math.abs(value));
      const feeds = { x: Tensor.of("x", "double", [2, 3], data) };
      expect(await checkGradients(model, feeds, { wrtInputs: /x/ })).toContain("x");
    }
  });

  test("no trips: states pass through", async () => {
    const b = new DoubleBuilder();
    const h = b.op("Mul", [b.input("x", [2, 3], "double"), b.weight("s.weight", [3])], "h");
    const y = b.many("Loop", [b.int64("n", 0), null, h], ["y", "rows"], {
      body: body((l) => {
        const [, going] = loopInputs(l);
        const s = l.input("s", undefined, "double");
        return [l.op("Identity", [going], "still"), l.op("Exp", [s], "s_next"), l.op("Identity", [s], "row")];
      }),
    })[0];
    expect(await checkGradients(b.loss(y as NonNullable<typeof y>), { x })).toEqual(["s.weight"]);
  });
});

describe("Scan", () => {
  test.each([18, 11])("two states, two scanned inputs, directions and axes, opset %i", async (opset) => {
    const b = new DoubleBuilder(opset);
    b.input("x", [2, 4, 3], "double");
    b.input("z", [4, 2, 3], "double");
    b.weight("W.weight", [3, 3]);
    b.weight("h0.weight", [2, 3]);
    const outputs = b.many(
      "Scan",
      [
        b.op("MatMul", [b.numbers("one", [2, 2], [1, 0, 0, 1]), b.graph.valueNamed("h0.weight")], "h0"),
        b.numbers("c0", [2, 3], [0, 0, 0, 0, 0, 0]),
        b.graph.valueNamed("x"),
        b.graph.valueNamed("z"),
      ],
      ["h", "c", "rows", "columns"],
      {
        num_scan_inputs: 2,
        scan_input_axes: [1, 0],
        scan_input_directions: [0, 1],
        scan_output_axes: [0, opset >= 11 ? -1 : 2],
        scan_output_directions: [1, 0],
        body: body((s) => {
          const [h, c] = [s.input("h_in", [2, 3], "double"), s.input("c_in", [2, 3], "double")];
          const [xt, zt] = [s.input("x_t", [2, 3], "double"), s.input("z_t", [2, 3], "double")];
          const hNext = s.op(
            "Tanh",
            [s.op("Add", [s.op("MatMul", [h, s.outer("W.weight")], "product"), xt], "sum")],
            "h_next",
          );
          const cNext = s.op("Add", [s.op("Mul", [c, zt], "forget"), hNext], "c_next");
          return [hNext, cNext, s.op("Mul", [hNext, zt], "row"), s.op("Sin", [cNext], "column")];
        }, opset),
      },
    );
    const [h, c, rows, columns] = outputs;
    const flat = [rows, columns].map((value, i) =>
      b.op("Reshape", [value ?? null, b.int64(`shape${i}`, [-1])], `flat${i}`),
    );
    const parts = [h, c].map((value, i) =>
      b.op("Reshape", [value ?? null, b.int64(`state${i}`, [-1])], `part${i}`),
    );
    const weighted = b.op("Concat", [...flat, ...parts], "joined", { axis: 0 });
    const model = b.loss(
      b.op(
        "Mul",
        [
          weighted,
          b.numbers(
            "mask",
            [60],
            Array.from({ length: 60 }, (_, i) => Math.cos(i)),
          ),
        ],
        "y",
      ),
    );
    const feeds = { x: doubles("x", [2, 4, 3]), z: doubles("z", [4, 2, 3]) };
    expect(await checkGradients(model, feeds, { wrtInputs: /^[xz]$/, freeze: /one/ })).toEqual([
      "W.weight",
      "h0.weight",
      "x",
      "z",
    ]);
  });

  test("a long one is cut in rounds: no Split has more than seven parts", async () => {
    const b = new DoubleBuilder();
    const steps = 60;
    b.weight("W.weight", [3, 3]);
    // No parameter, although it is an operand of the first product once that is written out.
    const state = b.numbers("start", [2, 3], [0, 0, 0, 0, 0, 0]);
    const [last, rows] = b.many("Scan", [state, b.input("x", [steps, 2, 3], "double")], ["last", "rows"], {
      num_scan_inputs: 1,
      body: body((s) => {
        const [h, xt] = [s.input("h", [2, 3], "double"), s.input("x_t", [2, 3], "double")];
        const product = s.op("MatMul", [h, s.outer("W.weight")], "product");
        const next = s.op("Tanh", [s.op("Add", [product, xt], "sum")], "next");
        return [next, s.op("Identity", [next], "row")];
      }),
    });
    const model = b.loss(b.op("Add", [last ?? null, rows ?? null], "y"));
    const feeds = { x: doubles("long x", [steps, 2, 3]) };
    expect(await checkGradients(model, feeds, { wrtInputs: /^x$/ })).toEqual(["W.weight", "x"]);
    const { model: gradient } = await differentiate(model, { loss: "loss" });
    const parts = (gradient.proto.graph?.node ?? []).filter(({ opType }) => opType === "Split");
    expect(Math.max(...parts.map(({ output }) => output?.length ?? 0))).toBe(7);
  });
});
