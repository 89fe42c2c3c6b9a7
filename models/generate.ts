/**
 * Writes the four untrained sample models and their checksums into this folder: `npm run models`.
 * The same source gives the same bytes on every machine; test/models compares them with the committed files.
 */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { argv } from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { encodeModelProto } from "../src/onnx/codec.ts";
import type { onnx } from "../src/onnx/schema.js";
import { cnn } from "./cnn.ts";
import { decoder } from "./decoder.ts";
import { mlp } from "./mlp.ts";
import { pointnet } from "./pointnet.ts";

/** The sample models by file name. */
const builders: Record<string, () => { toProto(): onnx.ModelProto }> = {
  "mlp.onnx": mlp,
  "cnn.onnx": cnn,
  "pointnet.onnx": pointnet,
  "decoder.onnx": decoder,
};

/** The generated files of this folder by name, including the checksums. */
export function sampleModels(): Map<string, Uint8Array> {
  const files = new Map(
    Object.entries(builders).map(([name, build]) => [name, encodeModelProto(build().toProto())] as const),
  );
  const sums = [...files].map(
    ([name, bytes]) => `${createHash("sha256").update(bytes).digest("hex")}  ${name}\n`,
  );
  return new Map([...files, ["SHA256SUMS", new TextEncoder().encode(sums.join(""))]]);
}

if (argv[1] !== undefined && import.meta.url === pathToFileURL(argv[1]).href) {
  for (const [name, bytes] of sampleModels()) {
    writeFileSync(fileURLToPath(new URL(name, import.meta.url)), bytes);
    process.stdout.write(`models/${name} (${bytes.length.toLocaleString("en")} bytes)\n`);
  }
}
