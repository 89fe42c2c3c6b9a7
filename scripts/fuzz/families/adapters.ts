import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  addAdapters,
  decodeAdapter,
  decodeOnnxAdapter,
  loadAdapter,
  mergeAdapters,
  readAdapter,
  readModel,
  writeModel,
} from "../../../src/index.ts";
import type { Family, Files } from "../family.ts";
import { changedBytes } from "../mutate/bytes.ts";
import { filesIn, inRepository } from "../seeds.ts";
import { command } from "./command.ts";
import { changedModel } from "./models.ts";
import { withChange } from "./runs.ts";

const base = inRepository("test/fixtures/peft/model.onnx");

/** Adapters in PEFT's folders, for the model of the fixtures. */
export const adapters: Family = {
  name: "adapters",
  weight: 2,
  async files(chance) {
    const kind = chance.pick(["lora", "dora", "rslora", "ia3"]);
    return withChange(await filesIn(inRepository(`test/fixtures/peft/${kind}/end`)), chance);
  },
  entries: {
    load: async (folder) => loadAdapter(await readModel(base), await readAdapter(folder)),
    async decode(folder) {
      const [tensors, config] = await Promise.all(
        ["adapter_model.safetensors", "adapter_config.json"].map((name) =>
          readFile(join(folder, name)).catch(() => new Uint8Array()),
        ),
      );
      await decodeAdapter(tensors ?? new Uint8Array(), config?.toString());
    },
    async merge(folder, out) {
      const merged = await mergeAdapters(await readModel(base), [{ adapter: await readAdapter(folder) }]);
      await writeModel(merged, join(out, "merged.onnx"));
    },
    "merge by command": command((folder, out) => [
      ...["merge", base, "--adapter", folder, "-o", join(out, "merged.onnx")],
    ]),
  },
};

/** Adapters in ONNX Runtime's format, and models that hold adapters. */
export const onnxAdapters: Family = {
  name: "adapters of ONNX Runtime",
  weight: 2,
  async files(chance, seeds) {
    const file = await readFile(inRepository("test/fixtures/peft/lora/ort.onnx_adapter"));
    const model = await readFile(join(seeds, "adapted.onnx"));
    const files: Files = new Map([["x.onnx_adapter", changedBytes(file, chance)]]);
    return files.set("adapted.onnx", changedModel(model, chance));
  },
  entries: {
    decode: async (folder) => decodeOnnxAdapter(await readFile(join(folder, "x.onnx_adapter"))),
    load: async (folder) =>
      loadAdapter(await readModel(base), await readAdapter(join(folder, "x.onnx_adapter"))),
    "merge by command": command((folder, out) => [
      ...["merge", base, "--adapter", join(folder, "x.onnx_adapter"), "-o", join(out, "merged.onnx")],
    ]),
    "merge of the model": command((folder, out) => [
      ...["merge", join(folder, "adapted.onnx"), "-o", join(out, "merged.onnx")],
    ]),
    "adapters again": async (folder) => addAdapters(await readModel(join(folder, "adapted.onnx"))),
  },
};

/** The only file of a folder. */
export const onlyFile = async (folder: string): Promise<string> =>
  join(folder, (await readdir(folder))[0] ?? "");
