import { realpathSync } from "node:fs";
import { dirname, isAbsolute, join, relative, resolve } from "node:path";
import { tensorsOf } from "../onnx/external.ts";
import { externalReader } from "../onnx/external-node.ts";
import type { Model } from "../onnx/model.ts";
import { filesOfWeights, withWeightsInFiles } from "../onnx/name-files.ts";
import { externalReference } from "../onnx/tensor.ts";
import type { SessionFiles } from "./ort-probe.ts";

const folderOf = (path: string): string => dirname(resolve(path));

/** The session's configuration that names the folder in which ONNX Runtime finds a model's external data. It maps the files itself, so nothing is copied. */
export function dataFolder({ path, externalLocations }: Model): Record<string, string> {
  if (path === undefined || externalLocations.size === 0) return {};
  return { model_external_initializers_file_folder_path: folderOf(path) };
}

/**
 * A model in the form in which a session maps its weights, also those in the model's own file and in files of its teacher.
 * A session knows one folder, and what is below it: it is the one that holds all files.
 */
export function inMappedForm(model: Model): Model {
  const paths = new Map(
    [...filesOfWeights(model)].flatMap((file) =>
      file.isAtPath() ? [[file, realpathSync(file.path)] as const] : [],
    ),
  );
  if (paths.size === 0) return model;
  const own =
    model.path === undefined || model.externalLocations.size === 0
      ? undefined
      : realpathSync(folderOf(model.path));
  const folders = [...(own === undefined ? [] : [own]), ...[...paths.values()].map(folderOf)];
  const shared = own !== undefined && namesFilesInBodies(model) ? own : sharedFolder(folders);
  const folder = shared ?? (folders[0] as string);
  const within = own === undefined ? "" : relative(folder, own);
  return withWeightsInFiles(
    model,
    (file) => {
      const path = paths.get(file);
      return path !== undefined && isInside(folder, path) ? slashed(relative(folder, path)) : undefined;
    },
    {
      within: within === "" ? "" : `${slashed(within)}/`,
      source: { path: join(folder, "model.onnx"), external: externalReader(folder) },
    },
  );
}

const slashed = (path: string): string => path.replaceAll("\\", "/");

function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return !isAbsolute(way) && way.split(/[\\/]/)[0] !== "..";
}

/** The innermost folder that holds all of the given ones; undefined if there is none, as on several drives. */
function sharedFolder([first = "", ...others]: readonly string[]): string | undefined {
  for (let folder = first; ; folder = dirname(folder)) {
    if (others.every((other) => isInside(folder, other))) return folder;
    if (folder === dirname(folder)) return undefined;
  }
}

/** Whether tensors of bodies and attributes name files, whose names cannot be changed without a copy of the model. */
function namesFilesInBodies({ proto }: Model): boolean {
  const initializers = new Set(proto.graph?.initializer ?? []);
  for (const tensor of tensorsOf(proto))
    if (!initializers.has(tensor) && externalReference(tensor)) return true;
  return false;
}

/** A model whose weights stay in their files, for a session on any device. */
export const mappedFiles: SessionFiles = (given) => {
  const model = inMappedForm(given);
  return { model, entries: dataFolder(model) };
};
