import { dirname, resolve } from "node:path";
import type { Model } from "../onnx/model.ts";
import { withWeightsInFile } from "../onnx/weights-in-files.ts";
import type { SessionFiles } from "./ort-probe.ts";

const folderOf = (path: string): string => dirname(resolve(path));

/** The session's configuration that names the folder in which ONNX Runtime finds a model's external data. It maps the files itself, so nothing is copied. */
export function dataFolder({ path, externalLocations }: Model): Record<string, string> {
  if (path === undefined || externalLocations.size === 0) return {};
  return { model_external_initializers_file_folder_path: folderOf(path) };
}

/** A model in the form in which a session maps its weights, also those in the model's own file. */
export const inMappedForm = (model: Model): Model => withWeightsInFile(model, folderOf);

/** A model whose weights stay in their files, for a session on any device. */
export const mappedFiles: SessionFiles = (given) => {
  const model = inMappedForm(given);
  return { model, entries: dataFolder(model) };
};
