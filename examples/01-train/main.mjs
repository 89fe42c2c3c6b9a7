import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { arrayDataset, crossEntropy, readModel, som, Trainer, writeModel } from "sorth-onnx";

const here = fileURLToPath(new URL(".", import.meta.url));
const output = process.argv[2] ?? here;

// 256 samples of two kinds: bright above or bright below.
const labels = Int32Array.from({ length: 256 }, (_, i) => i % 2);
const pixels = Float32Array.from({ length: 256 * 784 }, (_, i) => {
  const above = i % 784 < 392;
  return above === (labels[Math.floor(i / 784)] === 0) ? 1 : Math.sin(i) / 4;
});
const data = arrayDataset(pixels, labels, [1, 28, 28]);

const trainer = await Trainer.create(await readModel(join(here, "../../models/mlp.onnx")), {
  objective: crossEntropy(),
  penalties: [{ penalty: som() }],
  batch: 32,
});
for await (const event of trainer.fit(data, { epochs: 3 })) {
  if (event.event === "epoch") console.log(`epoch ${event.epoch}: loss ${event.loss.toFixed(4)}`);
}
console.log("accuracy", (await trainer.evaluate(data)).accuracy);
await writeModel(trainer.export(), join(output, "trained.onnx"), { force: true });
await trainer.release();
