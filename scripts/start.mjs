// `npm start`: trains models/cnn.onnx on MNIST without a penalty and with SOM, with the same seed and data, and compares
// accuracy and the angles between the units of each layer. Writes out/plain.onnx and out/som.onnx.
import { mkdir } from "node:fs/promises";
import {
  crossEntropy,
  formatTable,
  loadMnist,
  ProgressLine,
  readModel,
  responseAngles,
  sampleFeeds,
  som,
  Trainer,
  weightAngles,
  writeModel,
} from "../dist/node/index.js";

const wantedAccuracy = 0.985;
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
  {
    name: "SOM",
    file: "out/som.onnx",
    options: { penalties: [{ penalty: som() }] },
  },
];

const model = await readModel("models/cnn.onnx");
const { train, test } = await loadMnist();
await mkdir("out", { recursive: true });
const results = [];
for (const run of runs) {
  process.stderr.write(
    `training models/cnn.onnx on MNIST: ${run.name}, ${epochs} epochs of ${train.size} digits\n`,
  );
  results.push(await trainAndMeasure(run));
}
const [plain, regularized] = results;
console.log(`\n${comparison()}\n\ntrained models: ${plain.file}, ${regularized.file}`);
console.log("look closer: node dist/node/cli.js angles out/plain.onnx out/som.onnx --data mnist");

const problems = [
  ...results
    .filter(({ accuracy }) => accuracy < wantedAccuracy)
    .map(
      ({ name, accuracy }) => `${name}: accuracy ${percent(accuracy)}, less than ${percent(wantedAccuracy)}`,
    ),
  // SOM acts on responses. The angles between weights are shown too, but SOM does not promise to change them.
  ...(meanSpread(regularized.responses) >= meanSpread(plain.responses)
    ? ["SOM did not narrow the angles of the responses"]
    : []),
];
for (const problem of problems) console.error(`error: ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;

/** Trains one variant, writes it, and measures it. */
async function trainAndMeasure({ name, file, options }) {
  const trainer = await Trainer.create(model, { ...settings, ...options });
  const started = performance.now();
  const progress = new ProgressLine(process.stderr);
  for await (const event of trainer.fit(train, { epochs })) progress.show(event);
  progress.clear();
  const seconds = (performance.now() - started) / 1000;
  const { accuracy } = await trainer.evaluate(test);
  const trained = trainer.export();
  await trainer.release();
  await writeModel(trained, file, { force: true });
  const { layers: weights } = await weightAngles(trained);
  const { layers: responses } = await responseAngles(trained, await sampleFeeds(trained, test, 512));
  return { name, file, accuracy, seconds, weights, responses };
}

/** The two variants side by side. */
function comparison() {
  const row = (title, cell) => [title, cell(plain), cell(regularized)];
  const layerRows = (kind) =>
    plain[kind].map(({ name }, index) =>
      row(`${kind} of ${name}`, (result) => `${result[kind][index].spread.toFixed(1)}°`),
    );
  const mean = (kind) =>
    row(`${kind}, mean of all layers`, (result) => `${meanSpread(result[kind]).toFixed(1)}°`);
  return formatTable(
    [{ heading: "" }, ...runs.map(({ name }) => ({ heading: name, align: "right" }))],
    [
      row("test accuracy", ({ accuracy }) => percent(accuracy)),
      row("training time", ({ seconds }) => `${seconds.toFixed(0)} s`),
      ["spread of angles (0°: orthogonal)", "", ""],
      ...[...layerRows("weights"), mean("weights"), ...layerRows("responses"), mean("responses")],
    ],
  );
}

function meanSpread(layers) {
  return layers.reduce((sum, { spread }) => sum + spread, 0) / layers.length;
}

function percent(share) {
  return `${(100 * share).toFixed(2)} %`;
}
