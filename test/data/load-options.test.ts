import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  adapterOf,
  addAdapters,
  loadData,
  readModel,
  SorthError,
  writeAdapter,
  writeOnnxAdapter,
} from "../../src/index.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-load-"));
  await writeFile(join(folder, "table.csv"), "a,b,y\n1,2,0\n3,4,1\n");
});
afterAll(() => rm(folder, { recursive: true }));

const load = (options: object) => loadData(join(folder, "table.csv"), { label: "y", ...options } as never);
const others = [7, Number.NaN, {}, [7], new Map(), Symbol("s"), 5n, () => 1, Promise.resolve("y")];

test.each([
  "label",
  "text",
  "tokenizer",
  "columns",
  "targets",
  "conversion",
  "missing",
  "resize",
  "standardize",
])(
  "loadData passes over no %s that is of another kind, and fails with no error of JavaScript",
  async (name) => {
    for (const value of others) await expect(load({ [name]: value })).rejects.toBeInstanceOf(SorthError);
  },
);

test("loadData says what an option takes", async () => {
  await expect(load({ label: 2 })).rejects.toThrow("label is a text, not 2");
  await expect(load({ columns: "a,b" })).rejects.toThrow(
    'columns is a list, as in [ … ], not the text "a,b"',
  );
  await expect(load({ columns: ["a", 1] })).rejects.toThrow("what columns lists is a text, not 1");
  const gives = "a conversion is what loadData or conversionOf gives";
  await expect(load({ conversion: {} })).rejects.toThrow(`${gives}, not an Object`);
  await expect(load({ conversion: Promise.resolve() })).rejects.toThrow(`${gives}, not a promise: await it`);
  await expect(load({ model: "model.onnx" })).rejects.toThrow("a model is what readModel gives");
  for (const validation of [2, -1, Number.NaN, "0.1", true]) {
    await expect(load({ validation })).rejects.toThrow("the share of the data for validation");
  }
  expect((await load({ validation: 0.5, columns: ["a"], conversion: undefined })).train.size).toBe(2);
});

test("an adapter is written to a path, which is a text", async () => {
  const model = await readModel("models/mlp.onnx");
  const adapter = await adapterOf(await addAdapters(model));
  for (const path of [...others, undefined, null]) {
    const says = "the path of an adapter is a text, not";
    await expect(writeAdapter(adapter, path as never)).rejects.toThrow(says);
    await expect(writeOnnxAdapter(model, path as never)).rejects.toThrow(says);
  }
});
