import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { encodeModel, inject, readModel, som } from "sorth-onnx";
// The package offers this entry to browsers only, but the file runs in node as well.
import * as ort from "../../node_modules/ort-web-training/dist/ort.training.wasm.min.mjs";

const folder = process.argv[2];
// Buffers of node's pool are views into a larger one, whose offset this runtime ignores.
const bytes = async (name) => new Uint8Array(await readFile(join(folder, name)));
const injected = await inject(await readModel(join(folder, "training_model.onnx")), {
  penalties: [{ penalty: som(), weight: 0.05 }],
});

ort.env.wasm.numThreads = 1;
const session = await ort.TrainingSession.create({
  checkpointState: await bytes("checkpoint"),
  trainModel: new Uint8Array(encodeModel(injected)),
  optimizerModel: await bytes("optimizer_model.onnx"),
});
const x = new ort.Tensor(
  "float32",
  Float32Array.from({ length: 320 }, (_, i) => Math.sin(i)),
  [16, 20],
);
const labels = new ort.Tensor(
  "int64",
  BigInt64Array.from({ length: 16 }, (_, i) => BigInt(i % 5)),
  [16],
);
for (let step = 1; step <= 10; step++) {
  const results = await session.runTrainStep({ x, labels });
  console.log(
    step,
    results[session.trainingOutputNames[0]].data[0],
    "penalty",
    results.sorth_penalty.data[0],
  );
  await session.runOptimizerStep();
  await session.lazyResetGrad();
}
