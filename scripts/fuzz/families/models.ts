import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  addAdapters,
  buildArtifacts,
  buildStep,
  crossEntropy,
  differentiate,
  inject,
  inspect,
  type Model,
  mergeAdapters,
  readModel,
  replaceHead,
  som,
  strip,
  tap,
  verify,
  weightAngles,
  writeModel,
} from "../../../src/index.ts";
import { equalBytes } from "../../../src/onnx/wire.ts";
import type { Chance } from "../chance.ts";
import { Broken, type Family } from "../family.ts";
import { changedBytes } from "../mutate/bytes.ts";
import { changedGraph } from "../mutate/graph.ts";
import { changedRecords } from "../mutate/records.ts";
import { inRepository } from "../seeds.ts";
import { opens as opensFile } from "./command.ts";

const quiet = { onMessage: () => {} };
const loss = { ...quiet, objective: crossEntropy(), batch: 2 };

/** A model with a change of its bytes, its records or what it says. */
export function changedModel(bytes: Uint8Array, chance: Chance): Uint8Array {
  const changed = chance.below(8);
  if (changed === 0) return changedBytes(bytes, chance);
  return changed < 3 ? changedRecords(bytes, chance) : changedGraph(bytes, chance);
}

const read = (folder: string): Promise<Model> => readModel(join(folder, "model.onnx"));

const opens = (model: Model): Promise<boolean> => opensFile(model.bytes);

/** The small exports of the tests, their names once read. */
let exported: readonly string[] | undefined;

export const models: Family = {
  name: "models",
  weight: 8,
  async files(chance, seeds) {
    const folder = inRepository("test/fixtures/exports");
    exported ??= (await readdir(folder)).filter((name) => name.endsWith(".onnx")).sort();
    const others = ["recipes/keras.onnx", "language/decoder.onnx", "text/classifier.onnx"];
    const paths = [
      ...exported.map((name) => join(folder, name)),
      ...others.map((name) => inRepository(`test/fixtures/${name}`)),
      join(seeds, "network.onnx"),
    ];
    return new Map([["model.onnx", changedModel(await readFile(chance.pick(paths)), chance)]]);
  },
  entries: {
    inspect: async (folder) => inspect(await read(folder)),
    async inject(folder, out) {
      const model = await read(folder);
      const injected = await inject(model, { penalties: [som()], ...quiet });
      await writeModel(injected, join(out, "injected.onnx"));
      if (!equalBytes(strip(injected).bytes, model.bytes)) throw new Broken("strip gives other bytes back");
      if ((await opens(model)) && !(await opens(injected)))
        throw new Broken("the injected file does not open");
    },
    "inject with a loss": async (folder, out) => {
      const injected = await inject(await read(folder), {
        penalties: [som()],
        objective: crossEntropy(),
        ...quiet,
      });
      await writeModel(injected, join(out, "injected.onnx"));
    },
    async grad(folder) {
      const { model } = await differentiate(await read(folder), loss);
      if (!(await opens(model))) throw new Broken("the gradient graph does not open");
    },
    async step(folder) {
      const { model } = await buildStep(await read(folder), { ...loss, penalties: [som()] });
      if (!(await opens(model))) throw new Broken("the step does not open");
    },
    artifacts: async (folder) => buildArtifacts(await read(folder), loss),
    angles: async (folder) => weightAngles(await read(folder)),
    async tap(folder, out) {
      const model = await read(folder);
      const tapped = await tap(model, { include: /./ });
      await writeModel(tapped, join(out, "tapped.onnx"));
      if (!equalBytes(strip(tapped).bytes, model.bytes)) throw new Broken("strip gives other bytes back");
    },
    async adapters(folder, out) {
      const model = await read(folder);
      const adapted = await addAdapters(model, { rank: 2 });
      await writeModel(adapted, join(out, "adapted.onnx"));
      const merged = await mergeAdapters(adapted);
      if ((await opens(model)) && !(await opens(merged))) throw new Broken("the merged file does not open");
    },
    async head(folder, out) {
      await writeModel(await replaceHead(await read(folder), { classes: 3 }), join(out, "head.onnx"));
    },
  },
};

/** Injected models: the mark says what `strip` restores, and a change of it must not delete or write anything else. */
export const injectedModels: Family = {
  name: "injected models",
  weight: 3,
  async files(chance, seeds) {
    const name = chance.pick(["network", "cnn"]);
    const bytes = await readFile(join(seeds, "injected", `${name}.onnx`));
    return new Map([["model.onnx", changedModel(bytes, chance)]]);
  },
  entries: {
    async strip(folder, out) {
      await writeModel(strip(await read(folder)), join(out, "stripped.onnx"));
    },
    async verify(folder) {
      const model = await read(folder);
      return verify(strip(model), model);
    },
    inspect: async (folder) => inspect(await read(folder)),
    grad: async (folder) => differentiate(await read(folder), loss),
  },
};

const keys = ["location", "offset", "length", "checksum", "nothing"];

/** Models whose weights lie in another file: places, offsets and lengths that are not there. */
export const externalData: Family = {
  name: "external data",
  weight: 2,
  async files(chance, seeds) {
    const folder = join(seeds, "external");
    const model = await readFile(join(folder, "model.onnx"));
    const weights = await readFile(join(folder, "weights.data"));
    const { changedExternal } = await import("../mutate/external.ts");
    return new Map([
      ["model.onnx", chance.once(4) ? changedModel(model, chance) : changedExternal(model, keys, chance)],
      ["weights.data", chance.once(4) ? changedBytes(weights, chance) : weights],
    ]);
  },
  entries: {
    inspect: async (folder) => inspect(await read(folder)),
    async inject(folder, out) {
      const injected = await inject(await read(folder), { penalties: [som()], ...quiet });
      await writeModel(injected, join(out, "injected.onnx"));
    },
    grad: async (folder) => differentiate(await read(folder), loss),
    angles: async (folder) => weightAngles(await read(folder)),
  },
};
