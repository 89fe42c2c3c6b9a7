import { describe, expect, test } from "vitest";
import { arrayDataset } from "../../src/data/array-dataset.ts";
import type { Graph } from "../../src/graph/graph.ts";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  binaryCrossEntropy,
  buildArtifacts,
  crossEntropy,
  differentiate,
  inject,
  Model,
  meanSquaredError,
  type Objective,
  som,
  Trainer,
} from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";

const [batch, features, classes] = [6, 5, 3];
const x = Tensor.float("x", [batch, features], randomFloats("x", batch * features));
const asModel = (graph: Graph) => Model.fromProto(graphToProto(graph, { irVersion: 8 }));

/** Scores z = x·w + b and what follows them. */
function model(end: (b: GraphBuilder, z: Value) => Value[], opset = 17): Model {
  const b = new GraphBuilder(opset, { "ai.onnx.ml": 3 });
  const scores = b.op(
    "Gemm",
    [b.input("x", ["N", features]), b.weight("w", [features, classes]), b.weight("b", [classes])],
    "z",
  );
  return asModel(b.output(...end(b, scores)));
}

/** e / Σ e. */
const shares = (b: GraphBuilder, e: Value): Value =>
  b.op("Div", [e, b.op("ReduceSum", [e, b.int64("axes", [1])], "sum")], "p");

const plain = model((_, z) => [z]);

/** How models end, the objective, and what is said of the value that it reads. */
const cases: [string, Objective, (b: GraphBuilder, z: Value) => Value[], RegExp, string?][] = [
  [
    "Softmax",
    crossEntropy(),
    (b, z) => [b.op("Softmax", [z], "p", { axis: -1 })],
    /comes out of a Softmax.*reads "z"/,
  ],
  [
    "LogSoftmax",
    crossEntropy(),
    (b, z) => [b.op("LogSoftmax", [z], "p", { axis: 1 })],
    /LogSoftmax.*reads "z"/,
  ],
  [
    "Softmax, Identity, Cast",
    crossEntropy(),
    (b, z) => [b.op("Cast", [b.op("Identity", [b.op("Softmax", [z], "p")], "q")], "out", { to: 11 })],
    /"out" comes out of a Softmax.*reads "z"/,
  ],
  [
    "Sigmoid",
    binaryCrossEntropy(),
    (b, z) => [b.op("Sigmoid", [z], "p")],
    /Sigmoid, which the bce applies itself.*reads "z"/,
  ],
  [
    "a label, then probabilities",
    crossEntropy(),
    (b, z) => [
      b.op("ArgMax", [z], "label", { axis: 1, keepdims: 0 }),
      b.op("Softmax", [z], "p", { axis: 1 }),
    ],
    /first output "label" is int64: the loss reads "p".*reads "z"/,
  ],
  ["an inner value that is named", crossEntropy(), (b, z) => [b.op("Mul", [z, z], "squared")], /^$/, "z"],
  ["a Softmax that is named", crossEntropy(), (b, z) => [z, b.op("Softmax", [z], "p")], /reads "z"/, "p"],
];

/** Labels: classes, or a 0 or 1 for every score. */
const labelsFor = (objective: Objective) =>
  objective.name === "bce"
    ? Tensor.float(
        "labels",
        [batch, classes],
        Array.from({ length: batch * classes }, (_, i) => i % 2),
      )
    : Tensor.of(
        "labels",
        "int32",
        [batch],
        Int32Array.from({ length: batch }, (_, i) => i % classes),
      );

describe.each(cases)("%s", (_, objective, end, remark, output) => {
  const ended = model(end);
  const labels = labelsFor(objective);
  const options = { objective, batch, ...(output !== undefined && { output }) };

  test("the gradient is that of the logits, and it is said", async () => {
    const told: string[] = [];
    const found = await differentiate(ended, { ...options, onMessage: (text) => told.push(text) });
    const wanted = await differentiate(plain, { objective, batch });
    const [a, b] = await Promise.all(
      [found, wanted].map(({ model }) => runModel(model.bytes, { x, labels })),
    );
    for (const name of ["loss", "w_grad", "b_grad"]) {
      expect(a?.[name]?.numbers()).toEqual(b?.[name]?.numbers());
    }
    expect(told.join("\n")).toMatch(remark);
  });

  test("inject adds the same loss", async () => {
    const injected = await inject(ended, {
      penalties: [{ penalty: som(), weight: 1 }],
      objective: objective.name as "bce" | "cross-entropy",
      ...(output !== undefined && { output }),
    });
    const own = objective.name === "bce" ? labels : Tensor.int64("labels", [batch], labels.numbers());
    const found = await runModel(injected.bytes, { x, labels: own });
    const { model: wanted } = await differentiate(plain, { objective, batch });
    const { loss } = await runModel(wanted.bytes, { x, labels });
    const penalty = found.sorth_penalty?.numbers()[0] ?? Number.NaN;
    expect((found.loss?.numbers()[0] ?? Number.NaN) - penalty).toBeCloseTo(
      loss?.numbers()[0] ?? Number.NaN,
      4,
    );
  });

  test("training evaluates that loss, artifacts hold it", async () => {
    const data = arrayDataset(x.data as Float32Array, labels.data as Float32Array, [features]);
    const trainers = await Promise.all([
      Trainer.create(ended, options),
      Trainer.create(plain, { objective, batch }),
    ]);
    const [a, b] = await Promise.all(trainers.map((trainer) => trainer.evaluate(data)));
    await Promise.all(trainers.map((trainer) => trainer.release()));
    expect(a).toEqual(b);
    const { eval: evaluation } = await buildArtifacts(ended, options);
    expect(evaluation.proto.graph?.node?.map(({ opType }) => opType)).not.toContain(
      objective.name === "bce" ? "Sigmoid" : "Softmax",
    );
  });
});

test("the trained file keeps its Softmax", async () => {
  const ended = model((b, z) => [b.op("Softmax", [z], "p")]);
  const trainer = await Trainer.create(ended, { objective: crossEntropy(), batch });
  const ops = trainer.export().proto.graph?.node?.map(({ opType }) => opType);
  await trainer.release();
  expect(ops).toEqual(["Gemm", "Softmax"]);
});

test("a Softmax over another axis than the loss's is said", async () => {
  const b = new GraphBuilder(17);
  const scores = b.op("MatMul", [b.input("x", [2, 4, 5]), b.weight("w", [5, 4])], "z");
  const told: string[] = [];
  await differentiate(asModel(b.output(b.op("Softmax", [scores], "p", { axis: 2 }))), {
    ...{ objective: crossEntropy(), onMessage: (text) => told.push(text) },
  });
  expect(told).toEqual([
    expect.stringContaining('"p" comes out of a Softmax over axis 2, but the cross-entropy takes axis 1'),
  ]);
});

test.each<[string, (b: GraphBuilder, z: Value) => Value, Objective?]>([
  ["a Sigmoid", (b, z) => b.op("Clip", [b.op("Sigmoid", [z], "s")], "p"), binaryCrossEntropy()],
  ["a division by its sum", (b, z) => shares(b, b.op("Exp", [z], "e"))],
  ["a Softmax", (b, z) => b.op("Clip", [b.op("Softmax", [z], "s")], "p")],
  ["a Normalizer", (b, z) => b.op("Normalizer", [b.op("Abs", [z], "a")], "p", { norm: "L1" }, "ai.onnx.ml")],
  [
    '[1 − p, p] of "s"',
    (b, z) => {
      const s = b.op("Sigmoid", [z], "s");
      return b.op("Concat", [b.op("Sub", [b.weight("one", [1]), s], "other"), s], "p", { axis: 1 });
    },
  ],
])(
  "a loss that takes probabilities for scores says so: %s",
  async (made, end, objective = crossEntropy()) => {
    const told: string[] = [];
    const onMessage = (text: string) => told.push(text);
    await differentiate(
      model((b, z) => [end(b, z)]),
      { objective, batch, onMessage },
    );
    expect(told).toContainEqual(
      expect.stringContaining(
        `"p" holds probabilities (${made}), to which the ${objective.name} applies a S`,
      ),
    );
  },
);

test("logarithms of probabilities, and a loss without a softmax, are left as they are", async () => {
  const told: string[] = [];
  const onMessage = (text: string) => told.push(text);
  const ends = [
    { objective: crossEntropy(), end: "Log" },
    { objective: meanSquaredError(), end: "Identity" },
  ];
  for (const { objective, end } of ends) {
    const ended = model((b, z) => [b.op(end, [shares(b, b.op("Exp", [z], "e"))], "out")]);
    await differentiate(ended, { objective, batch, onMessage });
  }
  expect(told.filter((text) => text.includes("probabilities"))).toEqual([]);
});

test("a model's own loss over a Softmax is said", async () => {
  const b = new GraphBuilder(17);
  const scores = b.op("MatMul", [b.input("x", [4, 5]), b.weight("w", [5, 3])], "z");
  const p = b.op("Softmax", [scores], "p");
  const loss = b.op("SoftmaxCrossEntropyLoss", [p, b.input("y", [4], "int64")], "loss");
  const told: string[] = [];
  await differentiate(asModel(b.output(loss)), { loss: "loss", onMessage: (text) => told.push(text) });
  expect(told).toEqual([expect.stringContaining('own loss applies a Softmax to "p"')]);
});

test.each([
  [
    (b: GraphBuilder, z: Value) => [b.op("ArgMax", [z], "label", { axis: 1 })],
    undefined,
    'the first output "label" is int64, and a loss needs floats: name a value of floats inside the model with --prediction NAME',
  ],
  [
    (b: GraphBuilder, z: Value) => [
      b.op("ArgMax", [z], "label", { axis: 1 }),
      b.op("Neg", [z], "a"),
      b.op("Abs", [z], "c"),
    ],
    undefined,
    "name the scores with --prediction (a or c)",
  ],
  [
    (b: GraphBuilder, z: Value) => [b.op("ArgMax", [z], "label", { axis: 1 }), z],
    "label",
    '"label" is int64; a loss needs floats: name the scores with --prediction (z)',
  ],
  [
    (b: GraphBuilder, z: Value) => [b.op("ReduceMean", [z], "mean", { keepdims: 0 }), z],
    undefined,
    'the first output "mean" is one number: give --loss mean if it is the loss, or name the scores (--prediction)',
  ],
  [(_: GraphBuilder, z: Value) => [z], "nothing", 'the model computes no value "nothing"; its outputs are z'],
])("refusals name what to do (%#)", async (end, output, message) => {
  const options = { objective: crossEntropy(), batch, ...(output !== undefined && { output }) };
  await expect(differentiate(model(end), options)).rejects.toThrow(message);
});
