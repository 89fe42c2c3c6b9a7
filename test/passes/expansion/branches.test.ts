import { describe, expect, test } from "vitest";
import { Emit } from "../../../src/graph/emit.ts";
import { graphOf } from "../../../src/graph/model-graph.ts";
import type { Value } from "../../../src/graph/node.ts";
import { graphToProto } from "../../../src/graph/proto.ts";
import { buildStep, differentiate, meanSquaredError } from "../../../src/index.ts";
import { DataType } from "../../../src/onnx/data-types.ts";
import { Model } from "../../../src/onnx/model.ts";
import { Tensor } from "../../../src/onnx/tensor.ts";
import { expandBodies } from "../../../src/passes/expansion/expand-bodies.ts";
import { passContext } from "../../helpers/pass-context.ts";
import { body, checkGradients, DoubleBuilder, doubles, loopInputs, operatorsOf } from "./models.ts";

const x = doubles("x", [2, 3]);
const flag = (value: boolean) => Tensor.of("flag", "bool", [], Uint8Array.of(value ? 1 : 0));

/** y = flag ? tanh(x·W) : sin(x·W)·s + x·V; both branches read W, each something of its own. */
function conditional(condition: "fed" | boolean, opset = 18): Model {
  const b = new DoubleBuilder(opset);
  b.input("x", [2, 3], "double");
  for (const name of ["W.weight", "V.weight"]) b.weight(name, [3, 3]);
  b.weight("s.weight", [3]);
  const flagValue = condition === "fed" ? b.input("flag", [], "bool") : b.bool("flag", condition);
  const y = b.op("If", [flagValue], "y", {
    then_branch: body(
      (t) => [t.op("Tanh", [t.op("MatMul", [t.outer("x"), t.outer("W.weight")], "h")], "t")],
      opset,
    ),
    else_branch: body((e) => {
      const h = e.op("Sin", [e.op("MatMul", [e.outer("x"), e.outer("W.weight")], "h1")], "h2");
      const scaled = e.op("Mul", [h, e.outer("s.weight")], "h3");
      return [e.op("Add", [scaled, e.op("MatMul", [e.outer("x"), e.outer("V.weight")], "h4")], "e")];
    }, opset),
  });
  return b.loss(y);
}

describe("If", () => {
  test("a constant condition takes its branch", async () => {
    for (const condition of [true, false]) {
      const model = conditional(condition);
      const { model: gradient } = await differentiate(model, { loss: "loss" });
      expect(operatorsOf(gradient)).not.toContain("If");
      expect(await checkGradients(model, { x }, { wrtInputs: /x/ })).toEqual(
        condition ? ["W.weight", "x"] : ["W.weight", "V.weight", "s.weight", "x"],
      );
    }
  });

  test.each([18, 13, 11])(
    "a condition from data: gradients of the branch taken, zeros for the rest, opset %i",
    async (opset) => {
      const model = conditional("fed", opset);
      const options = { wrtInputs: /x/ };
      expect(await checkGradients(model, { x, flag: flag(true) }, options)).toEqual(["W.weight", "x"]);
      expect(await checkGradients(model, { x, flag: flag(false) }, options)).toEqual([
        "W.weight",
        "V.weight",
        "s.weight",
        "x",
      ]);
    },
  );

  test("branches with several outputs, nested Ifs, own constants, and forms of opset 11 inside", async () => {
    const b = new DoubleBuilder(11);
    b.input("x", [2, 3], "double");
    b.input("flag", [], "bool");
    b.input("inner", [], "bool");
    b.weight("W.weight", [3, 3]);
    const [p, q] = b.many("If", [b.graph.valueNamed("flag")], ["p", "q"], {
      then_branch: body((t) => {
        const h = t.op("MatMul", [t.outer("x"), t.outer("W.weight")], "th");
        const nested = t.op("If", [t.outer("inner")], "nested", {
          then_branch: body((n) => [n.op("Mul", [n.outer("th"), n.outer("th")], "n1")], 11),
          else_branch: body(
            (n) => [n.op("Mul", [n.outer("x"), n.numbers("half", [3], [0.5, 2, -1])], "n2")],
            11,
          ),
        });
        return [nested, t.op("ReduceSum", [h], "tq", { axes: [1], keepdims: 1 })];
      }, 11),
      else_branch: body((e) => {
        const h = e.op("Exp", [e.op("MatMul", [e.outer("x"), e.outer("W.weight")], "eh")], "ep");
        return [
          h,
          e.op("Unsqueeze", [e.op("ReduceMax", [h], "em", { axes: [1], keepdims: 0 })], "eq", { axes: [1] }),
        ];
      }, 11),
    });
    const model = b.loss(b.op("Add", [p ?? null, q ?? null], "y"));
    for (const [outer, inner] of [
      [true, true],
      [true, false],
      [false, true],
    ] as const) {
      const feeds = { x, flag: flag(outer), inner: flag(inner) };
      expect(await checkGradients(model, feeds, { wrtInputs: /x/, freeze: /half/ })).toEqual([
        "W.weight",
        "x",
      ]);
    }
  });

  // PyTorch's older exporter gives results of [N, 1] the rank of a list (graph attention of torch_geometric); ONNX Runtime only warns.
  test("a shape that a branch claims wrongly is not believed", async () => {
    const b = new DoubleBuilder(18);
    b.input("x", [2, 3], "double");
    const h = b.op("MatMul", [b.graph.valueNamed("x"), b.weight("W.weight", [3, 1])], "h");
    const one = b.graph.addInitializer(Tensor.int64("one", [], [1]));
    const isList = b.op("Equal", [b.op("Size", [b.op("Shape", [h], "s")], "rank"), one], "c");
    const claimed = (made: ReturnType<typeof body>) => {
      const [output] = made.kind === "graph" ? (made.value.output ?? []) : [];
      if (output)
        output.type = { tensorType: { elemType: DataType.double, shape: { dim: [{ dimParam: "n" }] } } };
      return made;
    };
    const flat = b.graph.addInitializer(Tensor.int64("flat", [1], [-1]));
    const chosen = (from: Value, name: string) =>
      b.op("If", [isList], name, {
        then_branch: claimed(
          body((t) => [t.op("Reshape", [t.outer(from.name), t.outer(flat.name)], `${name}.t`)]),
        ),
        else_branch: claimed(body((e) => [e.op("Identity", [e.outer(from.name)], `${name}.e`)])),
      });
    // What the first one computes has no known shape, so that nothing contradicts the claims of the second.
    const p = chosen(b.op("Neg", [chosen(h, "first")], "negative"), "second");
    const turned = b.op("Gather", [p, b.graph.addInitializer(Tensor.int64("order", [2], [1, 0]))], "turned");
    const d = b.op("Mul", [h, turned], "d");
    const spread = b.op("Expand", [d, b.op("Shape", [d], "shape")], "spread");
    expect(await checkGradients(b.loss(b.op("ReduceSum", [spread], "sum")), { x })).toEqual(["W.weight"]);
  });

  test("second derivatives pass", async () => {
    const first = await differentiate(conditional("fed"), { loss: "loss", wrt: /W/ });
    const graph = graphOf(first.model);
    const g = new Emit(graph, { prefix: "second/" });
    const gradient = graph.valueNamed(first.gradients.get("W.weight") as string);
    Object.assign(gradient, { type: "double", shape: [3, 3] });
    graph.rename(graph.valueNamed("loss"), "first loss");
    graph.outputs.length = 0;
    graph.rename(graph.addOutput(g.reduceMean(g.square(gradient))), "loss");
    const model = Model.fromProto(graphToProto(graph));
    for (const value of [true, false]) {
      const moving = await checkGradients(model, { x, flag: flag(value) }, { wrtInputs: /x/ });
      expect(moving).toEqual(value ? ["W.weight", "x"] : ["W.weight", "V.weight", "s.weight", "x"]);
    }
  });

  test("branches of different shapes are refused, by name", async () => {
    const b = new DoubleBuilder();
    b.input("x", [2, 3], "double");
    b.weight("W.weight", [3, 3]);
    const h = b.op("MatMul", [b.graph.valueNamed("x"), b.graph.valueNamed("W.weight")], "h");
    const y = b.op("If", [b.input("flag", [], "bool")], "y", {
      then_branch: body((t) => [t.op("Tanh", [t.outer(h.name)], "t")]),
      else_branch: body((e) => [e.op("ReduceMax", [e.outer(h.name)], "e", { keepdims: 1 })]),
    });
    await expect(differentiate(b.loss(y), { loss: "loss" })).rejects.toThrow(
      'cannot differentiate If (node "y"): its branches give different shapes, [2, 3] and [1, 1]',
    );
  });

  test("a Loop on data in a branch stays, and the pass says that nothing changed", async () => {
    const b = new DoubleBuilder();
    b.input("x", [2, 3], "double");
    b.input("n", [], "int64");
    const y = b.op("If", [b.input("flag", [], "bool")], "y", {
      then_branch: body((t) => [
        t.op("Loop", [t.outer("n"), null, t.outer("x")], "t", {
          body: body((l) => {
            const [, going] = loopInputs(l);
            const h = l.input("h", undefined, "double");
            return [l.op("Identity", [going], "still"), l.op("Tanh", [h], "next")];
          }),
        }),
      ]),
      else_branch: body((e) => [e.op("Neg", [e.outer("x")], "e")]),
    });
    const graph = b.output(y);
    const result = await expandBodies().run(graph, passContext(graph));
    expect(result).toMatchObject({ changed: false, detail: "data decides every branch" });
  });

  test("training says which layers in a branch keep the form of the file", async () => {
    const b = new DoubleBuilder();
    b.input("x", [4, 3], "double");
    const statistics = ["scale", "shift", "mean", "variance"];
    for (const name of statistics) b.numbers(name, [3], [1, 2, 3]);
    b.numbers("ratio", [], [0.5]);
    const h = b.op("MatMul", [b.graph.valueNamed("x"), b.weight("W.weight", [3, 3])], "h");
    const y = b.op("If", [b.input("flag", [], "bool")], "y", {
      then_branch: body((t) => [t.op("Dropout", [t.outer(h.name), t.outer("ratio")], "dropped")]),
      else_branch: body((e) => [
        e.op(
          "BatchNormalization",
          [h.name, ...statistics].map((name) => e.outer(name)),
          "normalized",
        ),
      ]),
    });
    const model = b.model(b.op("Neg", [y], "out"));
    const said = async (batchNorm: "train" | "frozen") => {
      const messages: string[] = [];
      const onMessage = (message: string) => messages.push(message);
      await buildStep(model, { objective: meanSquaredError(), batchNorm, onMessage });
      return messages.filter((message) => message.includes("a branch that data decides"));
    };
    expect(await said("train")).toEqual([
      'BatchNormalization and Dropout in a branch that data decides: the form stays that of the file, usually that of inference ("dropped", "normalized")',
    ]);
    expect(await said("frozen")).toEqual([
      'Dropout in a branch that data decides: the form stays that of the file, usually that of inference ("dropped")',
    ]);
  });
});
