import { open } from "node:fs/promises";
import { join } from "node:path";
import { graphToProto } from "../../src/graph/proto.ts";
import { readModel, writeModel } from "../../src/index.ts";
import { inlineExternal } from "../../src/onnx/inline-external.ts";
import { Model } from "../../src/onnx/model.ts";
import { onnx } from "../../src/onnx/schema.js";
import { Tensor } from "../../src/onnx/tensor.ts";
import { writeFileSafely } from "../../src/onnx/write-file.ts";
import { GraphBuilder } from "./build-graph.ts";

const [layers, width, rank] = [6, 2048, 4];
const bytes = width * width * 4;

/** Features of the base. */
export const baseWidth = width;
/** Size of its large weights in MiB. */
export const baseSize = (layers * bytes) / 2 ** 20;

/**
 * Writes a base of 96 MiB in two forms: `external.onnx`, whose numbers lie in `base.data`, and `whole.onnx`, which contains them.
 * A stack of MatMuls, each with two small ones beside it.
 */
export async function writeBases(folder: string): Promise<void> {
  const b = new GraphBuilder(18);
  let x = b.input("x", ["batch", width]);
  for (let i = 0; i < layers; i++) {
    const none = Tensor.of(`w${i}`, "float", [width, width], new Float32Array());
    const base = b.op("MatMul", [x, b.graph.addInitializer(none)], `base${i}`);
    const down = b.op("MatMul", [x, b.weight(`w${i}.lora_A`, [width, rank])], `down${i}`);
    const up = b.op("MatMul", [down, b.weight(`w${i}.lora_B`, [rank, width])], `up${i}`);
    x = b.op("Add", [base, up], `y${i}`);
  }
  b.output(x);
  const proto = graphToProto(b.graph, { irVersion: 8 });
  const large = (proto.graph?.initializer ?? []).filter(({ name }) => /^w\d$/.test(name ?? ""));
  for (const [i, tensor] of large.entries()) {
    tensor.rawData = new Uint8Array();
    tensor.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
    tensor.externalData = Object.entries({ location: "base.data", offset: i * bytes, length: bytes }).map(
      ([key, value]) => new onnx.StringStringEntryProto({ key, value: `${value}` }),
    );
  }
  const data = await open(join(folder, "base.data"), "w");
  const row = Float32Array.from({ length: width }, (_, i) => Math.sin(i) / width);
  for (let i = 0; i < layers; i++) await data.write(new Uint8Array(row.buffer), 0, width * 4, i * bytes);
  await data.truncate(layers * bytes);
  await data.close();
  const path = join(folder, "external.onnx");
  await writeFileSafely(path, Model.fromProto(proto).chunks);
  await writeModel(inlineExternal(await readModel(path)), join(folder, "whole.onnx"));
}
