import { describe, expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import { crossEntropy, encodeModel, inspect, Model, Tensor } from "../../src/index.ts";
import { differentiate } from "../../src/programs/differentiate.ts";
import { buildStep } from "../../src/programs/step.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";
import { modelFixture } from "../oracles/references.ts";

const [x, v] = [
  [-2.6, -0.5, 0.2, 1.5, 3.4, 40],
  [1, -2, 3, -4, 5, -6],
];

/** The loss Σ v·f(x). */
function lossOf(
  build: (b: GraphBuilder, x: ReturnType<GraphBuilder["input"]>) => ReturnType<GraphBuilder["input"]>,
) {
  const b = new GraphBuilder(18);
  const weights = b.graph.addInitializer(Tensor.float("v", [6], v));
  const product = b.op("Mul", [build(b, b.input("x", [6])), weights], "product");
  return Model.fromProto(graphToProto(b.output(b.op("ReduceSum", [product], "loss", { keepdims: 0 }))));
}

/** The gradient of that loss with respect to x. */
async function gradient(model: Model, straightThrough?: boolean): Promise<readonly number[]> {
  const options = {
    loss: "loss",
    wrt: /^v$/,
    wrtInputs: /^x$/,
    ...(straightThrough !== undefined && { straightThrough }),
  };
  const { model: written, gradients } = await differentiate(model, options, nodeProbe);
  const outputs = await runModel(encodeModel(written), { x: Tensor.float("x", [6], x) });
  return outputs[gradients.get("x") ?? ""]?.numbers() ?? [];
}

describe.each(["Round", "Floor", "Ceil", "Sign"])("%s", (op) => {
  test("has the gradient 0, and passes gradients on where it is asked to", async () => {
    const model = lossOf((b, at) => b.op(op, [at], "y"));
    expect(await gradient(model)).toEqual([0, 0, 0, 0, 0, 0].map(() => expect.closeTo(0)));
    expect(await gradient(model, true)).toEqual(v);
  });
});

test("a quantizer cuts gradients outside of its range, bounds included in it", async () => {
  const model = lossOf((b, at) => {
    const [s, z] = [
      b.graph.addInitializer(Tensor.float("s", [], [0.5])),
      b.graph.addInitializer(Tensor.of("z", "uint8", [], Uint8Array.of(3))),
    ];
    return b.op("DequantizeLinear", [b.op("QuantizeLinear", [at, s, z], "q"), s, z], "y");
  });
  await expect(gradient(model)).rejects.toThrow(/QuantizeLinear .*--straight-through/);
  // Levels from 0 to 255 are the numbers from −1.5 to 126.
  expect(await gradient(model, true)).toEqual([0, -2, 3, -4, 5, -6]);
});

test("a floating-point weight behind a quantizer is trained through it", async () => {
  const b = new GraphBuilder(18);
  const [s, z] = [
    b.graph.addInitializer(Tensor.float("s", [2], [0.1, 0.2])),
    b.graph.addInitializer(Tensor.of("z", "int8", [2], new Int8Array(2))),
  ];
  const weight = b.graph.addInitializer(Tensor.float("w", [3, 2], [0.31, -0.22, 0.93, 40, -0.04, 0.55]));
  const read = b.op("DequantizeLinear", [b.op("QuantizeLinear", [weight, s, z], "q"), s, z], "dq");
  b.output(b.op("MatMul", [b.input("x", [2, 3]), read], "logits"));
  const model = Model.fromProto(graphToProto(b.graph));
  const options = { objective: crossEntropy(), straightThrough: true };
  const step = await buildStep(model, options, nodeProbe);
  expect(step.ports.parameters.map(({ name }) => name)).toEqual(["w"]);
  const { model: written, gradients } = await differentiate(model, options, nodeProbe);
  const outputs = await runModel(encodeModel(written), {
    x: Tensor.float("x", [2, 3], randomFloats("x", 6)),
    labels: Tensor.of("labels", "int32", [2], Int32Array.of(0, 1)),
  });
  const found = outputs[gradients.get("w") ?? ""]?.numbers() ?? [];
  expect(found.map((number) => number === 0)).toEqual([false, false, false, true, false, false]);
});

test("refuses what would have no effect, and says what else is refused", async () => {
  await expect(
    gradient(
      lossOf((b, at) => b.op("Tanh", [at], "y")),
      true,
    ),
  ).rejects.toThrow(
    /straightThrough \(--straight-through\) would have no effect: nothing in the model rounds/,
  );
  for (const name of ["dynamic", "static-qdq", "static-qoperator"]) {
    const options = { objective: crossEntropy(), trainable: /^fc1\.lora/ };
    await expect(buildStep(modelFixture(`quantized/${name}.onnx`), options, nodeProbe)).rejects.toThrow(
      /cannot differentiate \S+ .*--straight-through/,
    );
  }
});

describe("a quantized base", () => {
  test.each(["int8", "nbits4", "int4-qdq", "static-qdq", "static-qoperator", "dynamic", "images-dynamic"])(
    "%s stays frozen with its scales, and inspect says so",
    async (name) => {
      const { parameters, advice } = await inspect(modelFixture(`quantized/${name}.onnx`));
      expect(parameters.filter((one) => !/lora|\.bias$/.test(one.name))).toEqual([]);
      expect(parameters.length).toBeGreaterThan(2);
      expect(advice.join("\n")).toMatch(/its quantized layers stay frozen \("(fc1|conv1)/);
    },
  );

  test("that leaves nothing to train says what to add", async () => {
    const model = modelFixture("quantized/images-qdq.onnx");
    const { advice } = await inspect(model);
    expect(advice.join("\n")).toMatch(/nothing in it is trained by default: .*--lora, --classes N/);
    await expect(
      buildStep(model, { objective: crossEntropy(), straightThrough: true }, nodeProbe),
    ).rejects.toThrow(/nothing is left to train: .*quantized layers stay frozen.*--lora, --classes N/);
  });
});
