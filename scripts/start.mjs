// The main job (`npm start`): trains models/cnn.onnx on MNIST plain and with SOM, the same seed and data, and compares
// accuracy and the angles between the units of each layer. Writes out/plain.onnx and out/som.onnx.
import { mkdir } from "node:fs/promises";
import {
  crossEntropy,
  loadMnist,
  readModel,
  responseAngles,
  sampleFeeds,
  som,
  Trainer,
  weightAngles,
  writeModel,
} from "../dist/node/index.js";

const epochs = 2;
const settings = {
  objective: crossEntropy(),
  batch: 64,
  learningRate: 3e-3,
  schedule: "cosine:warmup=100",
  seed: 1,
};
const runs = [
  { name: "plain", file: "out/plain.onnx", options: {} },
  { name: "SOM", file: "out/som.onnx", options: { penalties: [{ penalty: som() }], penaltyWeight: 0.1 } },
];

const model = await readModel("models/cnn.onnx");
const { train, test } = await loadMnist();
await mkdir("out", { recursive: true });
const results = [];
for (const { name, file, options } of runs) {
  const trainer = await Trainer.create(model, { ...settings, ...options });
  const started = performance.now();
  for await (const event of trainer.fit(train, { epochs })) {
    if (event.event === "step" && process.stderr.isTTY) {
      const share = `${Math.round(100 * event.penaltyShare)} % penalty`;
      process.stderr.write(
        `\r${name}: step ${event.step}/${event.totalSteps}, loss ${event.loss.toFixed(3)} (${share}), ${Math.round(event.samplesPerSecond)} samples/s   `,
      );
    } else if (event.event === "epoch") {
      const line = `${name}: epoch ${event.epoch} of ${epochs}, mean loss ${event.loss.toFixed(4)}, ${Math.round(event.samplesPerSecond)} samples/s`;
      process.stderr.write(`${process.stderr.isTTY ? "\r\x1b[K" : ""}${line}\n`);
    }
  }
  const { accuracy } = await trainer.evaluate(test);
  const trained = trainer.export();
  await writeModel(trained, file, { force: true });
  await trainer.release();
  const weights = await weightAngles(trained);
  const responses = await responseAngles(trained, sampleFeeds(trained, test, 512));
  results.push({ name, file, accuracy, weights, responses, seconds: (performance.now() - started) / 1000 });
}

const [plain, regularized] = results;
const degrees = (layer) => `${layer.mean.toFixed(1)}° ± ${layer.spread.toFixed(1)}°`;
const rows = [
  ["", ...results.map(({ name }) => name)],
  ["test accuracy", ...results.map(({ accuracy }) => `${(100 * accuracy).toFixed(2)} %`)],
  ["training time", ...results.map(({ seconds }) => `${seconds.toFixed(0)} s`)],
  ...plain.responses.layers.map((layer, i) => [
    `response angles of ${layer.name}`,
    ...results.map(({ responses }) => degrees(responses.layers[i])),
  ]),
  ...plain.weights.layers.map((layer, i) => [
    `weight angles of ${layer.name}`,
    ...results.map(({ weights }) => degrees(weights.layers[i])),
  ]),
];
const mean = (layers) => layers.reduce((sum, { spread }) => sum + spread, 0) / layers.length;
rows.push(
  [
    "mean spread of response angles",
    ...results.map(({ responses }) => `${mean(responses.layers).toFixed(1)}°`),
  ],
  ["mean spread of weight angles", ...results.map(({ weights }) => `${mean(weights.layers).toFixed(1)}°`)],
);
const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
console.log();
for (const row of rows)
  console.log(row.map((cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join("   "));
console.log(`\ntrained models: ${plain.file}, ${regularized.file}`);
console.log("look closer: npx sorth-onnx angles out/plain.onnx out/som.onnx --data mnist");
