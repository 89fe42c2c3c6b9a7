import { describe, expect, it } from "vitest";
import { strip } from "../../src/block/strip.ts";
import type { Attribute } from "../../src/graph/attribute.ts";
import type { Value } from "../../src/graph/node.ts";
import { differentiate, inject, inspect, responseAngles, verify, weightAngles } from "../../src/index.ts";
import type { Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { som } from "../../src/penalties/som.ts";
import { so } from "../../src/penalties/weights/so.ts";
import {
  type BodyBuilder,
  body,
  checkGradients,
  DoubleBuilder,
  doubles,
  loopInputs,
  run,
} from "../passes/expansion/models.ts";

const messagesOf = () => {
  const messages: string[] = [];
  return { messages, onMessage: (text: string) => messages.push(text) };
};

/** Injects, and holds that nothing of the model changed, that verify finds nothing, and that strip gives the file back. */
async function injected(model: Model, options: Parameters<typeof inject>[1]): Promise<Model> {
  const made = await inject(model, options);
  expect(equalBytes(strip(made).bytes, model.bytes)).toBe(true);
  const { checks } = await verify(model, made, { batch: 4 });
  expect(checks.filter(({ status }) => status === "failed")).toEqual([]);
  for (const { name } of options.loss ? [] : (JSON.parse(markOf(made)).sites as { name: string }[]))
    expect(checks).toContainEqual(expect.objectContaining({ name: `penalty of ${name}`, status: "passed" }));
  return made;
}

const markOf = ({ proto }: Model): string => proto.metadataProps?.[0]?.value ?? "";
const sitesOf = (model: Model): string[] =>
  (JSON.parse(markOf(model)).sites as { name: string }[]).map(({ name }) => name);

/** h ← tanh(x[:, t]·W + h·U) for every t, as a scripted loop over `x.size(1)` is exported; y = h·V. */
function recurrent(length: number | string): Model {
  const b = new DoubleBuilder();
  const x = b.input("x", ["batch", length, 3], "double");
  for (const name of ["W", "U"]) b.weight(name, [3, 3]);
  const shape = b.op("Shape", [x], "shape");
  const [none, one] = [b.int64("zero", [0]), b.int64("one", [1])];
  const trips = b.op("Squeeze", [b.op("Slice", [shape, one, b.int64("two", [2])], "second")], "trips");
  const rows = b.op("Concat", [b.op("Slice", [shape, none, one], "rows"), b.int64("width", [3])], "size", {
    axis: 0,
  });
  // A constant times U: train must not take it for a second weight.
  const first = b.op("ConstantOfShape", [rows], "first", {
    value: Tensor.of("", "double", [1], Float64Array.of(0.5)),
  });
  const h = b.op("Loop", [trips, b.bool("yes", true), first], "h", {
    body: body((l) => {
      const [trip, going] = loopInputs(l);
      const now = l.op("Gather", [l.outer("x"), trip], "now", { axis: 1 });
      const sum = l.op(
        "Add",
        [
          l.op("MatMul", [now, l.outer("W")], "in"),
          l.op("MatMul", [l.input("h", undefined, "double"), l.outer("U")], "again"),
        ],
        "sum",
      );
      return [l.op("Identity", [going], "on"), l.op("Tanh", [sum], "next")];
    }),
  });
  return b.loss(b.op("MatMul", [h, b.weight("V", [3, 2])], "y"));
}

/** An If whose branches are dense layers with weights of the graph, `then` a second If within the first branch. */
function branched(inner?: (l: BodyBuilder) => Value): Model {
  const b = new DoubleBuilder();
  const x = b.input("x", ["batch", 3], "double");
  for (const name of ["W", "U", "V"]) b.weight(name, [3, 4]);
  const dense = (weight: string): Attribute =>
    body((l) => [
      l.op("Tanh", [l.op("MatMul", [l.outer("x"), l.outer(weight)], `by ${weight}`)], `${weight}x`),
    ]);
  const positive = b.op(
    "Greater",
    [b.op("ReduceSum", [x], "sum", { keepdims: 0 }), b.numbers("nought", [], [0])],
    "positive",
  );
  const branches = {
    then_branch: body((l) => [
      inner?.(l) ??
        l.op("If", [l.outer("positive")], "inner", { then_branch: dense("W"), else_branch: dense("V") }),
    ]),
    else_branch: dense("U"),
  };
  return b.loss(b.op("If", [positive], "y", branches));
}

/** Data with which {@link branched} takes its second branch. */
const negative = {
  x: Tensor.of(
    "x",
    "double",
    [4, 3],
    new Float64Array(12).fill(-0.3).map((n, i) => n * (1 + i)),
  ),
};

describe("layers inside bodies", () => {
  it("a Loop whose count the file fixes: every trip's responses, and the gradient of what was injected", async () => {
    const model = recurrent(2);
    const { sites: listed } = await inspect(model);
    const trips = ["h/0/in", "h/0/again", "h/1/in", "h/1/again"];
    expect(listed.map(({ name }) => name)).toEqual(expect.arrayContaining(trips));
    const plain = await injected(model, { penalties: [som()] });
    expect(sitesOf(plain)).toEqual(listed.map(({ name }) => name));
    const x = doubles("x", [4, 2, 3]);
    const whole = await injected(model, { penalties: [som({ lambda1: 1, gamma: 1 })], loss: "loss" });
    expect(await checkGradients(whole, { x }, { batch: 4 })).toEqual(["W", "U", "V"]);
    const { layers } = await responseAngles(model, { x });
    expect(layers.map(({ name }) => name)).toEqual(listed.map(({ name }) => name));
  });

  it("a Loop over the samples: a block that holds for every batch cannot repeat it", async () => {
    const b = new DoubleBuilder();
    const x = b.input("x", ["batch", 3], "double");
    const rows = b.op(
      "Slice",
      [b.op("Shape", [x], "shape"), b.int64("zero", [0]), b.int64("one", [1])],
      "rows",
    );
    b.weight("U", [4, 4]);
    const h = b.op(
      "Loop",
      [b.op("Squeeze", [rows], "trips"), null, b.op("MatMul", [x, b.weight("W", [3, 4])], "in")],
      "h",
      {
        body: body((l) => {
          const [, going] = loopInputs(l);
          const again = l.op("MatMul", [l.input("h", undefined, "double"), l.outer("U")], "again");
          return [l.op("Identity", [going], "on"), l.op("Tanh", [again], "next")];
        }),
      },
    );
    const { messages, onMessage } = messagesOf();
    const made = await inject(b.loss(h), { penalties: [som()], onMessage });
    expect(sitesOf(made)).toEqual(["in"]);
    expect(messages.join("\n")).toContain('again: no som penalty: it lies in a body of the Loop "h"');
  });

  it("a Loop of more trips than a block writes out: its weights, and the reason for the responses", async () => {
    const { messages, onMessage } = messagesOf();
    const made = await inject(recurrent(400), { penalties: [som(), so({})], onMessage });
    expect(sitesOf(made)).toEqual(expect.arrayContaining(["in", "again"]));
    expect(messages.join("\n")).toContain("(it would unroll into more than 2000 nodes (6 at each trip))");
  });

  it("a Loop whose count follows from a free length: the weights, and the reason for the responses", async () => {
    const { messages, onMessage } = messagesOf();
    const model = recurrent("T");
    const made = await inject(model, { penalties: [som(), so({})], dims: { T: 3 }, onMessage });
    expect(sitesOf(made)).toEqual(expect.arrayContaining(["in", "again"]));
    expect(messages.join("\n")).toContain(
      'in: no som penalty: it lies in a body of the Loop "h", inside of which its responses stay (its trip count "trips" is computed from data)',
    );
    const train = await differentiate(model, { loss: "loss", penalties: [som()], batch: 4, dims: { T: 2 } });
    expect(train.gradients.size).toBe(3);
  });

  it("an If whose condition is constant: the layers of the branch that is taken", async () => {
    const b = new DoubleBuilder();
    const x = b.input("x", ["batch", 3], "double");
    for (const name of ["W", "U"]) b.weight(name, [3, 4]);
    const dense = (weight: string): Attribute =>
      body((l) => [
        l.op("Tanh", [l.op("MatMul", [l.outer("x"), l.outer(weight)], `by ${weight}`)], weight + 1),
      ]);
    const width = b.op("Gather", [b.op("Shape", [x], "shape"), b.int64("one", 1)], "width");
    const condition = b.op("Equal", [width, b.int64("three", 3)], "three wide");
    const model = b.loss(b.op("If", [condition], "y", { then_branch: dense("W"), else_branch: dense("U") }));
    const made = await injected(model, { penalties: [som()] });
    expect(sitesOf(made)).toEqual(["y/by W"]);
  });

  it("an If on data: penalties on weights act in every branch, taken or not", async () => {
    const model = branched();
    const names = ["by W", "by V", "by U"];
    const { messages, onMessage } = messagesOf();
    await expect(inject(model, { penalties: [som()], onMessage })).rejects.toThrow(
      'lies in a body of the If "y", whose condition data decides',
    );
    expect(messages.length).toBe(3);
    const made = await injected(model, { penalties: [so({})] });
    expect(sitesOf(made)).toEqual(names);
    expect((await weightAngles(made)).layers.map(({ name }) => name)).toEqual(names);
    const whole = await injected(model, { penalties: [so({})], loss: "loss" });
    expect(await checkGradients(whole, negative, { batch: 4 })).toEqual(["W", "U", "V"]);
  });

  it("weights that a branch holds: inject says why it leaves them out, train penalises them", async () => {
    const model = branched((l) =>
      l.op("MatMul", [l.outer("x"), l.numbers("own", [3, 4], doubles("own", [12]).numbers())], "by own"),
    );
    const { messages, onMessage } = messagesOf();
    await inject(model, { penalties: [so({})], onMessage });
    expect(messages).toEqual([
      expect.stringContaining("by own: no penalty: its weight is a constant inside"),
    ]);
    const { advice } = await inspect(model);
    expect(advice.join("\n")).toContain('"by own": its weights are constants inside functions or bodies');
    const gradient = await differentiate(model, { loss: "loss", penalties: [so({})], batch: 4 });
    const computed = await run(gradient.model, negative);
    // The other branch is taken, so that the penalty alone moves it: 4(WWᵀ − I)W with one row per unit.
    const own = doubles("own", [12]).numbers();
    const at = (i: number, unit: number) => own[i * 4 + unit] as number;
    const three = [0, 1, 2];
    const expected = three.flatMap((i) =>
      [0, 1, 2, 3].map((unit) => {
        const excess = (j: number) =>
          [0, 1, 2, 3].reduce((sum, u) => sum + at(i, u) * at(j, u), i === j ? -1 : 0);
        return 0.1 * 4 * three.reduce((sum, j) => sum + excess(j) * at(j, unit), 0);
      }),
    );
    const found = computed.get(gradient.gradients.get("own") ?? "")?.numbers() ?? [];
    expect(Math.max(...expected.map((value, i) => Math.abs(value - (found[i] as number))))).toBeLessThan(
      1e-12,
    );
  });

  it("a weight that is transposed inside a body is named", async () => {
    const model = branched((l) =>
      l.op(
        "MatMul",
        [l.outer("x"), l.op("Transpose", [l.op("Transpose", [l.outer("V")], "turned")], "back")],
        "by turned",
      ),
    );
    const { skipped } = await inspect(model);
    expect(skipped).toEqual([
      expect.objectContaining({
        name: "by turned",
        reason: expect.stringContaining("its weight is transposed or converted inside a body"),
      }),
    ]);
  });
});
