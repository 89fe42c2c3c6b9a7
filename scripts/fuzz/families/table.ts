import type { Chance } from "../chance.ts";
import type { Family } from "../family.ts";
import { adapters, onnxAdapters } from "./adapters.ts";
import { commands, configurations, runs } from "./commands.ts";
import { dataFiles, imageFolders, texts } from "./data.ts";
import { externalData, injectedModels, models } from "./models.ts";
import { operators } from "./operators.ts";
import { artifacts, checkpoints } from "./runs.ts";
import { browserStorage, chosenFiles, requests } from "./web.ts";

/** Every kind of input. */
export const families: readonly Family[] = [
  ...[models, injectedModels, externalData, operators],
  ...[checkpoints, artifacts],
  ...[dataFiles, imageFolders, texts],
  ...[adapters, onnxAdapters],
  ...[commands, configurations, runs],
  ...[browserStorage, chosenFiles, requests],
];

/** One of the families, by their weights. */
export function pickFamily(chance: Chance, list: readonly Family[]): Family {
  return chance.pick(list.flatMap((family) => Array<Family>(family.weight).fill(family)));
}
