import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { exportCheckpoint, readCheckpoint, rescueFiles, Trainer, writeModel } from "../../../src/index.ts";
import type { Chance } from "../chance.ts";
import type { Family, Files } from "../family.ts";
import { changedSafetensors } from "../mutate/arrays.ts";
import { changedBytes } from "../mutate/bytes.ts";
import { changedGraph } from "../mutate/graph.ts";
import { changedRecords } from "../mutate/records.ts";
import { changedJson, changedObjects, changedText } from "../mutate/text.ts";
import { filesIn, inRepository, samples } from "../seeds.ts";

/** A file changed by its kind. */
export function changedFile(name: string, bytes: Uint8Array, chance: Chance): Uint8Array {
  if (name.endsWith(".onnx"))
    return chance.once(2) ? changedGraph(bytes, chance) : changedRecords(bytes, chance);
  if (name.endsWith(".safetensors")) return changedSafetensors(bytes, chance);
  if (name.endsWith(".jsonl")) return changedObjects(bytes, chance);
  if (name.endsWith(".yaml")) return Buffer.from(changedText(Buffer.from(bytes).toString(), chance));
  if (name.endsWith(".json")) return Buffer.from(changedJson(Buffer.from(bytes).toString(), chance));
  return changedBytes(bytes, chance);
}

/** Changes one file, or removes it, or puts another one in its place. */
export function withChange(files: Files, chance: Chance): Files {
  const name = chance.pick([...files.keys()]);
  const change = chance.below(12);
  if (change === 0) files.delete(name);
  else if (change === 1) files.set(name, files.get(chance.pick([...files.keys()])) ?? new Uint8Array());
  else files.set(name, changedFile(name, files.get(name) ?? new Uint8Array(), chance));
  return files;
}

/** Checkpoint folders of `train`. */
export const checkpoints: Family = {
  name: "checkpoints",
  weight: 3,
  changesInput: true,
  files: async (chance, seeds) => withChange(await filesIn(join(seeds, "checkpoint")), chance),
  entries: {
    async resume(folder) {
      const trainer = await Trainer.resume(folder, { onMessage: () => {} });
      try {
        for await (const _ of trainer.fit(samples(), { maxSteps: 1 })) {
          // One step shows that the state fits.
        }
      } finally {
        await trainer.release();
      }
    },
    async export(folder, out) {
      await writeModel(await exportCheckpoint(folder), join(out, "trained.onnx"));
    },
  },
};

/** Files of ONNX Runtime's training API. */
export const artifacts: Family = {
  name: "training artifacts",
  weight: 2,
  async files(chance) {
    const folder = inRepository(`test/fixtures/official/${chance.pick(["cnn", "mlp", "residual", "gelu"])}`);
    const own = ["training_model.onnx", "checkpoint", "optimizer_model.onnx"];
    const files: Files = new Map();
    for (const name of own) {
      const bytes = await readFile(join(folder, name)).catch(() => undefined);
      if (bytes) files.set(name, bytes);
    }
    return withChange(files, chance);
  },
  entries: {
    "read a checkpoint": (folder) => readCheckpoint(join(folder, "checkpoint")),
    async rescue(folder) {
      const run = await rescueFiles(join(folder, "training_model.onnx"));
      const trainer = await Trainer.rescue(run, { batch: 4, onMessage: () => {} });
      await trainer.release();
    },
  },
};
