import { removeStored, storedFile, writeStored } from "./browser-storage.ts";
import { webProbe } from "./probe-web.ts";
import { wasmBackend, webgpuBackend } from "./session-web.ts";
import type { CheckpointFiles, TrainerRuntime } from "./trainer-runtime.ts";

const read = async (folder: string, name: string): Promise<Uint8Array> =>
  new Uint8Array(await (await storedFile(folder, name)).arrayBuffer());

/** Checkpoints in the origin private file system. */
const files: CheckpointFiles = {
  read,
  write: writeStored,
  remove: removeStored,
  writeModel: async (folder, model) =>
    (await import("./stored-model-web.ts")).writeStoredModel(folder, model),
  readModel: async (folder) => (await import("./stored-model-web.ts")).readStoredModel(folder),
};

/** Training in a browser. */
export const webRuntime: TrainerRuntime = { probe: webProbe, backends: [wasmBackend, webgpuBackend], files };
