import type { Chance } from "../chance.ts";
import type { Family } from "../family.ts";
import { dataFiles, imageFolders, texts } from "./data.ts";
import { externalData, injectedModels, models } from "./models.ts";
import { artifacts, checkpoints } from "./runs.ts";

/** Every kind of input. */
export const families: readonly Family[] = [
  ...[models, injectedModels, externalData],
  ...[checkpoints, artifacts],
  ...[dataFiles, imageFolders, texts],
];

/** One of the families, by their weights. */
export function pickFamily(chance: Chance, list: readonly Family[]): Family {
  return chance.pick(list.flatMap((family) => Array<Family>(family.weight).fill(family)));
}
