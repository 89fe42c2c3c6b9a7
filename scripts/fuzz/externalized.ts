import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import Long from "long";
import { decodeModelProto, encodeModelProto } from "../../src/onnx/codec.ts";
import type { Model } from "../../src/onnx/model.ts";

/** Writes a model with its weights in a file `weights.data` beside it. */
export async function externalized({ bytes: whole }: Model, folder: string): Promise<void> {
  const proto = decodeModelProto(whole.slice());
  const chunks: Uint8Array[] = [];
  let offset = 0;
  for (const tensor of proto.graph?.initializer ?? []) {
    const bytes = tensor.rawData;
    if (!bytes || bytes.length === 0) continue;
    const entries = { location: "weights.data", offset: String(offset), length: String(bytes.length) };
    tensor.externalData = Object.entries(entries).map(([key, value]) => ({ key, value }));
    tensor.dataLocation = 1;
    tensor.rawData = new Uint8Array();
    chunks.push(bytes);
    offset += bytes.length;
  }
  proto.irVersion = Long.fromNumber(8);
  await writeFile(join(folder, "model.onnx"), encodeModelProto(proto));
  await writeFile(join(folder, "weights.data"), Buffer.concat(chunks));
}
