import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  arrayDataset,
  crossEntropy,
  differentiate,
  foldBatchNorm,
  freeBatch,
  inject,
  type Model,
  readModel,
  recoverBatchNorm,
  replaceHead,
  som,
  Trainer,
  tap,
  writeModel,
} from "../../src/index.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { inlineExternal } from "../../src/onnx/inline-external.ts";
import { onnx } from "../../src/onnx/schema.js";
import { Tensor } from "../../src/onnx/tensor.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

let folder: string;
const at = (name: string) => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-writers-"));
});
afterAll(() => rm(folder, { recursive: true }));

const [width, hidden] = [128, 256];

/** x [batch, 128] → Gemm → Dropout → Relu → Gemm, whose weights of 128 KiB lie in "NAME.data". */
async function written(name: string, batch: number | string, training = false): Promise<Model> {
  const b = new GraphBuilder(18);
  let h = b.op(
    "Gemm",
    [b.input("x", [batch, width]), b.weight("fc.weight", [width, hidden]), b.weight("fc.bias", [hidden])],
    "h",
  );
  if (training) {
    const ratio = b.graph.addInitializer(Tensor.float("ratio", [], [0.5]));
    const mode = b.graph.addInitializer(Tensor.of("mode", "bool", [], Uint8Array.of(1)));
    h = b.op("Dropout", [h, ratio, mode], "kept");
  }
  const r = b.op("Relu", [h], "r");
  b.output(b.op("Gemm", [r, b.weight("head.weight", [hidden, 128]), b.weight("head.bias", [128])], "y"));
  const proto = graphToProto(b.graph, { irVersion: 9 });
  const parts: Uint8Array[] = [];
  for (const tensor of proto.graph?.initializer ?? []) {
    if (!/weight$/.test(tensor.name ?? "")) continue;
    const data = tensor.rawData as Uint8Array;
    const place = {
      location: `${name}.data`,
      offset: parts.reduce((sum, { length }) => sum + length, 0),
      length: data.length,
    };
    parts.push(data);
    tensor.rawData = new Uint8Array();
    tensor.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
    tensor.externalData = Object.entries(place).map(([key, value]) => ({ key, value: `${value}` }));
  }
  await writeFile(at(`${name}.data`), Buffer.concat(parts));
  await writeFile(at(name), encodeModelProto(proto));
  return readModel(at(name));
}

const settings = { objective: crossEntropy(), batch: 1 } as const;
/** A model whose external weights have new numbers, which it keeps in memory. */
async function exported(model: Model): Promise<Model> {
  const trainer = await Trainer.create(model, settings);
  const trained = trainer.export();
  await trainer.release();
  return trained;
}
const samples = 16;
const data = () =>
  arrayDataset(
    Float32Array.from({ length: samples * width }, (_, i) => Math.sin(i)),
    Int32Array.from({ length: samples }, (_, i) => i % 3),
    [width],
  );

/** The outputs for one sample. */
async function run(model: string | Uint8Array): Promise<Record<string, unknown>> {
  const session = await ort.InferenceSession.create(model as string, { intraOpNumThreads: 1 });
  const feeds: Record<string, ort.Tensor> = {
    x: new ort.Tensor(
      "float32",
      Float32Array.from({ length: width }, (_, i) => Math.cos(i)),
      [1, width],
    ),
    labels: new ort.Tensor("int32", Int32Array.of(2), [1]),
  };
  const outputs = await session.run(
    Object.fromEntries(session.inputNames.map((name) => [name, feeds[name] as ort.Tensor])),
  );
  await session.release();
  return Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, data]));
}

/** Every writer that makes a graph anew, or gives weights new numbers. */
const writers: Record<string, () => Promise<Model>> = {
  "free-batch": async () => freeBatch(await written("a.onnx", 1)),
  "free-batch of a trained model": async () => freeBatch(await exported(await written("a.onnx", 1))),
  "grad of a trained model": async () =>
    (await differentiate(await exported(await written("b.onnx", "N")), settings)).model,
  "inject into a trained model": async () =>
    inject(await exported(await written("b.onnx", "N")), { penalties: [som()] }),
  "tap of a trained model": async () => tap(await exported(await written("b.onnx", "N")), { include: /^r$/ }),
  "a model in training form": async () => exported(await written("c.onnx", "N", true)),
  "a head with new classes": async () => await replaceHead(await written("b.onnx", "N"), { classes: 200 }),
  "BatchNorm that is folded again": async () => {
    const model = await written("b.onnx", "N");
    return foldBatchNorm(await recoverBatchNorm(model, data(), { batch: 8 }));
  },
};

describe("weights of external data stay out of the model's own file", () => {
  test.each(Object.keys(writers))("%s", async (name) => {
    const model = await (writers[name] as () => Promise<Model>)();
    const path = at(`${name.replaceAll(" ", "-")}.onnx`);
    await writeModel(model, path);
    expect((await stat(path)).size).toBeLessThan(24 * 1024);
    const read = await readModel(path);
    expect(read.externalLocations.size).toBeGreaterThan(0);
    expect(await run(path)).toEqual(await run(inlineExternal(model).bytes));
  });
});
