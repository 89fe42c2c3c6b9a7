import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InferenceSession } from "onnxruntime-node";
import { expect, test } from "vitest";
import { buildStep, crossEntropy, readModel, som } from "../../src/index.ts";
import { decodeModelProto } from "../../src/onnx/codec.ts";
import type { Model } from "../../src/onnx/model.ts";
import { onlyUsefulOptimizers } from "../../src/runtime/ort-optimizers.ts";

/** The operators of the graph that ONNX Runtime makes of a model, in order. */
async function optimized(model: Model, extra: InferenceSession.SessionOptions["extra"]): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), "sorth-optimized-"));
  try {
    const optimizedModelFilePath = join(folder, "optimized.onnx");
    const options = { optimizedModelFilePath, logSeverityLevel: 4, ...(extra && { extra }) } as const;
    await (await InferenceSession.create(model.bytes, options)).release();
    const { graph } = decodeModelProto(await readFile(optimizedModelFilePath));
    return (graph?.node ?? []).map(({ opType, input, output }) => `${opType} ${input} → ${output}`);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const leftOut = (model: Model): string[] =>
  String(
    (onlyUsefulOptimizers(model).optimization as { disable_specified_optimizers: string })
      .disable_specified_optimizers,
  ).split(";");

test.each(["mlp", "cnn", "pointnet"])(
  "ONNX Runtime makes the same graph of %s's step without the optimizers that have nothing to do",
  async (name) => {
    const { model } = await buildStep(await readModel(`models/${name}.onnx`), {
      ...{ objective: crossEntropy(), penalties: [som()], batch: 8 },
    });
    expect(leftOut(model).length).toBeGreaterThan(20);
    expect(await optimized(model, onlyUsefulOptimizers(model))).toEqual(await optimized(model, undefined));
  },
);
