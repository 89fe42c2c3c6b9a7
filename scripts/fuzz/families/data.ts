import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Dataset, loadData, readModel, type SplitData } from "../../../src/index.ts";
import type { Chance } from "../chance.ts";
import type { Family } from "../family.ts";
import { changedNpy, changedNpz, changedSafetensors } from "../mutate/arrays.ts";
import { changedBytes } from "../mutate/bytes.ts";
import { changedJson, changedObjects, changedText } from "../mutate/text.ts";
import { inRepository } from "../seeds.ts";

/** Reads the first samples of every part. */
async function readSome({ train, validation, test }: SplitData): Promise<void> {
  for (const part of [train, validation, test]) if (part && part.size > 0) await readRows(part);
}

/** Fills arrays with the first four rows; parts too large for a test of readers are left alone. */
async function readRows({ size, x, y, fill }: Dataset): Promise<void> {
  const rows = Array.from({ length: Math.min(4, size) }, (_, i) => i);
  const numbers = (shape: readonly number[]) =>
    rows.length * shape.reduce((product, dim) => product * dim, 1);
  if (numbers(x.shape) > 1e7 || numbers(y.shape) > 1e7) return;
  const integers = y.type === "integer";
  const labels = integers ? new Int32Array(numbers(y.shape)) : new Float32Array(numbers(y.shape));
  await fill(rows, new Float32Array(numbers(x.shape)), labels);
}

const changedLines = (bytes: Uint8Array, chance: Chance): Uint8Array =>
  Buffer.from(
    chance.once(8)
      ? changedBytes(bytes, chance)
      : Buffer.from(changedText(Buffer.from(bytes).toString(), chance)),
  );

/** How files of an ending are changed. */
const byEnding: readonly (readonly [RegExp, (bytes: Uint8Array, chance: Chance) => Uint8Array])[] = [
  [/\.npz$/, changedNpz],
  [/\.npy$/, changedNpy],
  [/\.safetensors$/, changedSafetensors],
  [/\.(csv|tsv|txt)$/, changedLines],
  [/\.jsonl$/, changedObjects],
  [/./, changedBytes],
];

const changed = (name: string, bytes: Uint8Array, chance: Chance): Uint8Array =>
  byEnding.find(([ending]) => ending.test(name))?.[1](bytes, chance) ?? bytes;

const fixtures = inRepository("test/fixtures/data");
let known: readonly string[] | undefined;

/** Arrays and tables, each in one file. */
export const dataFiles: Family = {
  name: "data files",
  weight: 5,
  async files(chance) {
    known ??= (await readdir(fixtures))
      .filter((name) => /\.(npz|npy|safetensors|csv|tsv|jsonl|parquet)$/.test(name))
      .sort();
    const name = chance.pick(known);
    return new Map([[name, changed(name, await readFile(join(fixtures, name)), chance)]]);
  },
  entries: {
    load: async (folder) => readSome(await loadData(join(folder, (await readdir(folder))[0] ?? ""))),
    "load for a model": async (folder) => {
      const model = await readModel(inRepository("test/fixtures/data/image.onnx"));
      await readSome(await loadData(join(folder, (await readdir(folder))[0] ?? ""), { model }));
    },
  },
};

/** Folders of images, one folder for each class. */
export const imageFolders: Family = {
  name: "image folders",
  weight: 2,
  async files(chance) {
    const files = new Map<string, Uint8Array>();
    for (const label of ["a", "b"]) {
      for (const name of await readdir(join(fixtures, "forms", label)))
        files.set(`${label}/${name}`, await readFile(join(fixtures, "forms", label, name)));
    }
    const name = chance.pick([...files.keys()]);
    const bytes = files.get(name) ?? new Uint8Array();
    // Sizes stand in the first bytes.
    files.set(name, changedBytes(bytes, chance));
    if (chance.once(2)) {
      const head = changedBytes(bytes.slice(0, 64), chance);
      files.set(name, Buffer.concat([head, bytes.subarray(64)]));
    }
    return files;
  },
  entries: {
    load: async (folder) =>
      readSome(
        await loadData(folder, { model: await readModel(inRepository("test/fixtures/data/image.onnx")) }),
      ),
  },
};

/** A tokenizer and texts. */
export const texts: Family = {
  name: "texts",
  weight: 1,
  async files(chance) {
    const folder = inRepository("test/fixtures/text");
    const story = await readFile(join(folder, "story.txt"));
    const files = new Map<string, Uint8Array>([
      ["story.txt", chance.once(2) ? changedLines(story, chance) : story],
    ]);
    for (const name of await readdir(join(folder, "byte-pairs"))) {
      const bytes = await readFile(join(folder, "byte-pairs", name));
      const json = name.endsWith(".json") && chance.once(2);
      files.set(
        `byte-pairs/${name}`,
        json ? Buffer.from(changedJson(Buffer.from(bytes).toString(), chance)) : bytes,
      );
    }
    return files;
  },
  entries: {
    load: async (folder) =>
      readSome(
        await loadData(join(folder, "story.txt"), {
          tokenizer: join(folder, "byte-pairs"),
          length: 8,
          languageModel: true,
        }),
      ),
  },
};
