import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Long from "long";
import { InferenceSession } from "onnxruntime-node";
import { expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import { buildStep, crossEntropy, readModel, som } from "../../src/index.ts";
import { decodeModelProto } from "../../src/onnx/codec.ts";
import { Model } from "../../src/onnx/model.ts";
import { onnx } from "../../src/onnx/schema.js";
import { Tensor } from "../../src/onnx/tensor.ts";
import { unpackedWeights } from "../../src/runtime/large-base.ts";
import { onlyUsefulOptimizers } from "../../src/runtime/ort-optimizers.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

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

test("a model whose weights alone are quantized keeps the optimizers of quantized numbers", async () => {
  const b = new GraphBuilder(21);
  const width = 600;
  const levels = Tensor.of("levels", "int8", [width, width], new Int8Array(width * width).fill(3));
  const scale = b.graph.addInitializer(Tensor.float("scale", [], [0.1]));
  const weight = b.op("DequantizeLinear", [b.graph.addInitializer(levels), scale], "w");
  b.output(b.op("MatMul", [b.input("x", ["batch", width]), weight], "y"));
  const model = Model.fromProto(graphToProto(b.graph, { irVersion: 10 }));
  const nodes = await optimized(model, undefined);
  expect(nodes.join()).not.toContain("DequantizeLinear");
  expect(await optimized(model, onlyUsefulOptimizers(model))).toEqual(nodes);
});

test.each(["DequantizeLinear", "MatMulNBits", "MatMul"])(
  "whether large weights beside a %s are packed",
  (opType) => {
    const entries = { location: "weights.bin", offset: 0, length: 2 ** 25 };
    const weight = new onnx.TensorProto({
      ...{ name: "w", dataType: 1, dims: [Long.fromNumber(2 ** 23)] },
      dataLocation: onnx.TensorProto.DataLocation.EXTERNAL,
      externalData: Object.entries(entries).map(([key, value]) => ({ key, value: `${value}` })),
    });
    const node = new onnx.NodeProto({ opType, input: ["x", "w"], output: ["y"] });
    const model = Model.fromProto(
      new onnx.ModelProto({ graph: new onnx.GraphProto({ node: [node], initializer: [weight] }) }),
    );
    expect(unpackedWeights(model)).toEqual(opType === "MatMul" ? { disable_prepacking: "1" } : {});
  },
);
