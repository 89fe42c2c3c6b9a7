import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { roundingText } from "../../src/analysis/runtime-faults.ts";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  arrayDataset,
  crossEntropy,
  differentiate,
  evaluateModel,
  inject,
  inspect,
  Model,
  meanSquaredError,
  responseAngles,
  som,
  tap,
  verify,
} from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { webgpuBackend } from "../../src/runtime/webgpu-node.ts";
import { temporaryFolder } from "../cli/run-cli.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { maxDifference, randomFloats } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";
import { useGpu } from "../helpers/software-gpu.ts";
import { stillThere } from "./still-there.ts";

// Each fault of docs/runtime-faults.md that can be shown here: that it is still there, and that it does not reach the user.

const [rows, inputs, units, classes] = [8, 6, 4, 3];
const x = Tensor.float("x", [rows, inputs], randomFloats("faults x", rows * inputs));
const labels = Tensor.of(
  "labels",
  "int32",
  [rows],
  Int32Array.from({ length: rows }, (_, i) => i % classes),
);
const modelOf = (b: GraphBuilder): Model => Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));

/** A network whose BatchNormalization is in training form, with the numbers of a fresh one. */
function trainingForm({ momentum = 0.9, shared = false, width = units } = {}): Model {
  const b = new GraphBuilder(18);
  const vector = (name: string, value: number) =>
    b.graph.addInitializer(Tensor.float(name, [width], new Float32Array(width).fill(value)));
  const [mean, variance] = [vector("mean", 0), vector("variance", 1)];
  const [scale, bias] = shared
    ? [b.op("Identity", [variance], "copy"), mean]
    : [vector("scale", 1), vector("bias", 0)];
  const h = b.op("Gemm", [b.input("x", ["batch", inputs]), b.weight("w1", [inputs, width])], "fc1");
  const attributes = { training_mode: 1, momentum: { kind: "float", value: momentum } as const };
  const normalized = b.many(
    "BatchNormalization",
    [h, scale, bias, mean, variance],
    ["bn", "m", "v"],
    attributes,
  );
  b.output(b.op("Gemm", [normalized[0] as Value, b.weight("w2", [width, classes])], "logits"));
  return modelOf(b);
}

/** One session, three runs. */
async function threeRuns(
  model: Model,
  feeds: Record<string, Tensor>,
  output: string,
  level: "all" | "disabled",
) {
  const session = await InferenceSession.create(model.bytes, {
    graphOptimizationLevel: level,
    logSeverityLevel: 4,
  });
  const given = Object.fromEntries(
    Object.entries(feeds).map(([name, { type, data, dims }]) => [
      name,
      new OrtTensor(type === "float" ? "float32" : "int32", data as Float32Array, dims),
    ]),
  );
  const found: number[][] = [];
  for (let i = 0; i < 3; i++) {
    const result = (await session.run(given))[output] as OrtTensor;
    found.push([...(result.data as Float32Array)]);
  }
  await session.release();
  return found;
}

describe.each([false, true])("BatchNormalization in training form, statistics shared: %s", (shared) => {
  const model = trainingForm({ shared });
  const right = trainingForm({ shared, momentum: 1 });

  test("its scale and bias are overwritten by every run", async () => {
    const [expected] = await threeRuns(right, { x }, "logits", "all");
    const found = await threeRuns(model, { x }, "logits", shared ? "disabled" : "all");
    const errors = found.map((logits) => maxDifference(logits, expected ?? []));
    stillThere(
      (errors[0] ?? 0) > 0.1 && (errors[2] ?? 0) > (errors[0] ?? 0),
      "still-statistics.ts and overwritten-parameters.ts",
    );
  });

  test("grad and response angles are those of momentum 1, in every run", async () => {
    const options = { objective: crossEntropy(), batch: rows };
    const gradients = await differentiate(model, options);
    const expected = await differentiate(right, options);
    const [first] = await threeRuns(expected.model, { x, labels }, "w1_grad", "all");
    for (const found of await threeRuns(gradients.model, { x, labels }, "w1_grad", "all")) {
      expect(maxDifference(found, first ?? [])).toBeLessThan(1e-6);
    }
    const angles = await responseAngles(model, { x });
    expect(angles).toEqual(await responseAngles(right, { x }));
  });

  test("inspect, inject and tap name it, but not with momentum 1 or statistics that are read", async () => {
    const says = /BatchNormalization "bn" .*(is also|equals) its running mean.*momentum to 1/;
    const said: string[] = [];
    const onMessage = (text: string) => void said.push(text);
    expect((await inspect(model)).advice.join("\n")).toMatch(says);
    await inject(model, { penalties: [{ penalty: som() }], onMessage });
    await tap(model, { include: /bn/, onMessage });
    expect(said.filter((text) => says.test(text))).toHaveLength(2);
    expect((await inspect(right)).advice.join("\n")).not.toMatch(says);
    const read = await tap(model, { include: /^[mv]$/ });
    expect((await inspect(read)).advice.join("\n")).not.toMatch(says);
  });
});

test.each([8, 9])("equal numbers are made one tensor up to 8 of them: %i", async (width) => {
  const [expected = []] = await threeRuns(trainingForm({ width, momentum: 1 }), { x }, "logits", "all");
  const [found = []] = await threeRuns(trainingForm({ width }), { x }, "logits", "all");
  const isWrong = maxDifference(found, expected) > 0.1;
  expect(isWrong).toBe(width === 8);
  const { advice } = await inspect(trainingForm({ width }));
  expect(/computes it wrongly/.test(advice.join())).toBe(isWrong);
});

describe("com.microsoft.Attention without a bias", () => {
  const attention = (biased: boolean): Model => {
    const b = new GraphBuilder(18, { "com.microsoft": 1 });
    const zeros = b.graph.addInitializer(Tensor.float("zeros", [12], new Float32Array(12)));
    const read = [b.input("x", ["batch", 2, 4]), b.weight("w", [4, 12]), ...(biased ? [zeros] : [])];
    const y = b.op("Attention", read, "y", { num_heads: 2 }, "com.microsoft");
    b.output(b.op("Gemm", [b.op("Flatten", [y], "flat"), b.weight("fc", [8, classes])], "logits"));
    return modelOf(b);
  };
  let folder: ReturnType<typeof temporaryFolder>;
  beforeAll(() => {
    folder = temporaryFolder();
  });
  afterAll(() => folder.remove());

  test("it ends the process", () => {
    const path = join(folder.path, "attention.onnx");
    writeFileSync(path, attention(false).bytes);
    const script = `const ort = require("onnxruntime-node");
      ort.InferenceSession.create(${JSON.stringify(path)}).then((s) => s.run({ x: new ort.Tensor("float32", new Float32Array(8), [1, 2, 4]) }));`;
    const { signal, status } = spawnSync(process.execPath, ["-e", script], { cwd: process.cwd() });
    stillThere(
      signal !== null || (status ?? 0) > 128,
      "attention-bias.ts, and what run-node.ts and verify.ts do about it",
    );
  });

  test("no command ends with it; results are those of a bias of zeros; verify refuses it", async () => {
    const [model, same] = [attention(false), attention(true)];
    expect((await inspect(model)).advice.join("\n")).toMatch(
      /Attention without a bias \("y"\) ends the process/,
    );
    const data = arrayDataset(
      randomFloats("tokens", 64),
      Int32Array.from({ length: 8 }, (_, i) => i % classes),
      [2, 4],
    );
    expect(await evaluateModel(model, data)).toEqual(await evaluateModel(same, data));
    const feeds = { x: Tensor.float("x", [8, 2, 4], randomFloats("tokens", 64)) };
    expect(await responseAngles(model, feeds)).toEqual(await responseAngles(same, feeds));
    const options = { objective: crossEntropy(), batch: rows };
    const run = async (of: Model) =>
      runModel((await differentiate(of, options)).model.bytes, { ...feeds, labels });
    expect((await run(model)).w_grad?.numbers()).toEqual((await run(same)).w_grad?.numbers());
    const said: string[] = [];
    const onMessage = (text: string) => void said.push(text);
    const injected = await inject(model, { penalties: [{ penalty: som() }], batch: rows, onMessage });
    await tap(model, { include: /^y$/, onMessage });
    expect(said.filter((text) => /Attention without a bias \("y"\) ends/.test(text))).toHaveLength(2);
    await expect(verify(model, injected)).rejects.toThrow(/Attention "y" has no bias/);
  });
});

test("products that a session of the user's own would round are named, also in a gradient graph", async () => {
  const b = new GraphBuilder(21);
  // Small weights would be folded.
  const width = 600;
  const bytes = new Int8Array(width * width).fill(3);
  const levels = b.graph.addInitializer(Tensor.of("levels", "int8", [width, width], bytes));
  const scale = b.graph.addInitializer(Tensor.float("scale", [], [0.1]));
  const weight = b.op("DequantizeLinear", [levels, scale], "w");
  const h = b.op("MatMul", [b.input("x", ["batch", width]), weight], "fc1");
  b.output(b.op("Gemm", [h, b.weight("w2", [width, classes])], "logits"));
  const model = modelOf(b);
  const says = /rounds the inputs of "fc1" to int8.*qdq_matmulnbits_accuracy_level: "1"/;
  expect((await inspect(model)).advice.join("\n")).toMatch(says);
  // A product of two quantized operands is one of integers.
  const rounded = b.op("QuantizeLinear", [b.input("z", ["batch", width]), scale], "q");
  const other = b.op("DequantizeLinear", [rounded, scale], "dq");
  expect(roundingText(b.graph)).toHaveLength(1);
  b.op("MatMul", [other, weight], "fc2");
  expect(roundingText(b.graph).join()).not.toContain("fc2");
  const said: string[] = [];
  const onMessage = (text: string) => void said.push(text);
  await differentiate(model, { objective: crossEntropy(), batch: rows, onMessage });
  expect(said.join("\n")).toMatch(says);
});

const missing = useGpu();

test.skipIf(missing !== "")(
  "WebGPU's convolution of 9 channels is wrong, evaluate's is not (issue 29651)",
  async () => {
    const b = new GraphBuilder(18);
    const same = { kernel_shape: [3, 3], pads: [1, 1, 1, 1] };
    const y = b.op("Conv", [b.input("x", ["batch", 9, 4, 4]), b.weight("w", [4, 9, 3, 3])], "c", same);
    b.output(b.op("ReduceMean", [y, b.int64("axes", [2, 3])], "y", { keepdims: 0 }));
    const model = modelOf(b);
    const pixels = randomFloats("pixels", 4 * 9 * 16);
    const data = arrayDataset(pixels, new Float32Array(16), [9, 4, 4], { targetShape: [4] });
    const loss = async (backend: "cpu" | "webgpu") =>
      (await evaluateModel(model, data, { backend, objective: meanSquaredError() })).loss;
    const image = Tensor.float("x", [4, 9, 4, 4], pixels);
    const session = await webgpuBackend.openForward(model, {});
    const raw = (await session.run(new Map([["x", image]]))).get("y")?.numbers() ?? [];
    const found = await loss("webgpu");
    await session.release();
    const right = (await runModel(model.bytes, { x: image })).y?.numbers() ?? [];
    stillThere(maxDifference(raw, right) > 0.01, "fill-channels.ts");
    expect(found).toBeCloseTo(await loss("cpu"), 6);
  },
);
