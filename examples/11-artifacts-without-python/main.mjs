import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildArtifacts, crossEntropy, readModel, som, writeCheckpoint, writeModel } from "sorth-onnx";

const folder = process.argv[2];
const model = await readModel(fileURLToPath(new URL("../../models/cnn.onnx", import.meta.url)));
const artifacts = await buildArtifacts(model, {
  objective: crossEntropy(),
  penalties: [{ penalty: som() }],
  batch: 32,
});
await mkdir(folder, { recursive: true });
await writeModel(artifacts.training, join(folder, "training_model.onnx"));
await writeModel(artifacts.eval, join(folder, "eval_model.onnx"));
await writeModel(artifacts.optimizer, join(folder, "optimizer_model.onnx"));
await writeCheckpoint(join(folder, "checkpoint"), artifacts.checkpoint);
console.log(artifacts.checkpoint.parameters.map(({ name }) => name));
