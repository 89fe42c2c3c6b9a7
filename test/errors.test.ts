import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { DeviceError, messageOf } from "../src/errors.ts";
import {
  adamw,
  arrayDataset,
  crossEntropy,
  decodeCheckpoint,
  decodeModel,
  type ErrorCode,
  inject,
  parseNpz,
  readModel,
  rescueModel,
  SorthError,
  som,
  strip,
  Tensor,
  Trainer,
  UsageError,
  verify,
} from "../src/index.ts";
import { refuseMiscomputed } from "../src/passes/backends/refuse-miscomputed.ts";
import { GraphBuilder } from "./helpers/build-graph.ts";

const mlp = decodeModel(readFileSync("models/mlp.onnx"));
const samples = (size: number) =>
  arrayDataset(new Float32Array(32 * size * size).fill(1), new Int32Array(32), [1, size, size]);

async function fitted(size: number, learningRate: number): Promise<void> {
  const trainer = await Trainer.create(mlp, { objective: crossEntropy(), batch: 16, learningRate });
  try {
    for await (const _ of trainer.fit(samples(size), { maxSteps: 4, epochs: 4 }));
  } finally {
    await trainer.release();
  }
}

function misreducing() {
  const b = new GraphBuilder();
  return b.output(b.op("ReduceL2", [b.input("x", [2, 3])], "y", { noop_with_empty_axes: 1 }));
}

const official = (name: string) => readFileSync(`test/fixtures/official/${name}`);

const injected = () => inject(mlp, { penalties: [som()] });

const cases: readonly [ErrorCode, string, () => unknown][] = [
  ["usage", "an option out of range", () => adamw({ beta1: 2 })],
  ["usage", "no penalty", () => inject(mlp, { penalties: [] })],
  [
    "usage",
    "an unknown backend",
    () => Trainer.create(mlp, { objective: crossEntropy(), backend: "abacus" }),
  ],
  ["model", "nothing to strip", () => strip(mlp)],
  ["model", "an injected model again", async () => inject(await injected(), { penalties: [som()] })],
  ["data", "samples of another size", () => fitted(3, 1e-3)],
  ["file", "a file that is missing", () => readModel("models/missing.onnx")],
  ["file", "bytes that are no model", () => decodeModel(Uint8Array.of(1, 2, 3))],
  ["file", "bytes that are no archive", () => parseNpz(Uint8Array.of(1, 2, 3), "x.npz")],
  [
    "usage",
    "data for an input that is not there",
    async () => verify(mlp, await injected(), { feeds: new Map([["z", Tensor.float("z", [1], [0])]]) }),
  ],
  [
    "file",
    "a checkpoint of another model",
    () =>
      rescueModel(
        decodeModel(official("cnn/training_model.onnx")),
        decodeCheckpoint(official("mlp/checkpoint"), "checkpoint"),
      ),
  ],
  ["device", "an operator that the GPU computes wrongly", () => refuseMiscomputed().run(misreducing())],
  ["numeric", "a loss that is no number", () => fitted(28, 1e38)],
];

describe("errors say of what kind they are", () => {
  it.each(cases)("%s: %s", async (code, _, call) => {
    const error = await Promise.resolve()
      .then(call)
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(SorthError);
    expect(error).toMatchObject({ code, exitCode: code === "usage" ? 2 : 1 });
    expect(error instanceof UsageError).toBe(code === "usage");
  });

  it("an error that repeats another one keeps its kind, unless it says another", () => {
    const cause = new DeviceError("the device was lost");
    expect(new SorthError(`step 3: ${messageOf(cause)}`, { cause }).code).toBe("device");
    expect(new SorthError("x", { cause, code: "file" }).code).toBe("file");
    expect(new SorthError("x", { cause: new Error("y") }).code).toBe("model");
  });
});

it("a message is one line that shows what names in a file hide", () => {
  expect(new SorthError("the node a\n b\u001b[31m\u202e: wrong").message).toBe(
    "the node a b\\u001b[31m\\u202e: wrong",
  );
});

it("a message of any length shows where it begins, and its end with what to do", () => {
  const { message } = new SorthError(`the shape [${"1, ".repeat(9000)}1] is wrong; save the file again`);
  expect(message).toMatch(/^the shape \[1, 1.* … .*1\] is wrong; save the file again$/);
  expect(message.length).toBeLessThanOrEqual(2000);
});
