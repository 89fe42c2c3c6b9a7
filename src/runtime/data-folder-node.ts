import { dirname, resolve } from "node:path";
import type { InferenceSession } from "onnxruntime-common";
import type { Model } from "../onnx/model.ts";

/** The folder in which ONNX Runtime finds a model's external data. It maps the files itself, so nothing is copied. */
export function dataFolder({ path, externalLocations }: Model): InferenceSession.SessionOptions {
  if (path === undefined || externalLocations.size === 0) return {};
  return {
    extra: { session: { model_external_initializers_file_folder_path: dirname(resolve(path)) } },
  };
}
