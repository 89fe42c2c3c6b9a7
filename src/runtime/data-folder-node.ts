import { dirname, resolve } from "node:path";
import { quantized } from "../analysis/quantized.ts";
import type { Model } from "../onnx/model.ts";
import { bytesInFiles, withWeightsInFile } from "../onnx/weights-in-files.ts";
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

/**
 * From this many bytes of mapped weights on, sessions read them as they lie in the file. ONNX Runtime otherwise packs the
 * weights of products anew, in memory of its own, and does so for each product that reads them (docs/decisions.md).
 */
const unpackedFrom = 32 * 2 ** 20;

/** Whether a model's frozen weights are so large that memory decides how it is run. */
export const isLargeBase = (model: Model): boolean => bytesInFiles(model) >= unpackedFrom;

/**
 * The session's configuration that leaves large mapped weights where they are. Operators on quantized numbers, of which ONNX Runtime
 * may make others, are up to ten times slower unpacked.
 */
export function unpackedWeights(model: Model): Record<string, string> {
  const nodes = model.proto.graph?.node ?? [];
  const keeps = isLargeBase(model) && !nodes.some(({ opType }) => quantized.test(opType ?? ""));
  return keeps ? { disable_prepacking: "1" } : {};
}
