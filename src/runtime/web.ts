import { inlineExternal } from "../onnx/inline-external.ts";
import { decodeModel } from "../onnx/model.ts";
import { removeStored, storedFile, writeStored } from "./browser-storage.ts";
import { webProbe } from "./probe-web.ts";
import { wasmBackend, webgpuBackend } from "./session-web.ts";
import type { CheckpointFiles, TrainerRuntime } from "./trainer-runtime.ts";

const read = async (folder: string, name: string): Promise<Uint8Array> =>
  new Uint8Array(await (await storedFile(folder, name)).arrayBuffer());

/** Checkpoints in the origin private file system; a model's external data become files there too. */
const files: CheckpointFiles = {
  read,
  write: writeStored,
  remove: removeStored,
  writeModel: (folder, model) => writeStored(folder, "model.onnx", inlineExternal(model).chunks),
  readModel: async (folder) => decodeModel(await read(folder, "model.onnx")),
};

/** Training in a browser. */
export const webRuntime: TrainerRuntime = { probe: webProbe, backends: [wasmBackend, webgpuBackend], files };
