import { FileError, messageOf } from "../errors.ts";
import { inlineExternal } from "../onnx/inline-external.ts";
import { decodeModel } from "../onnx/model.ts";
import { webProbe } from "./probe-web.ts";
import { wasmBackend, webgpuBackend } from "./session-web.ts";
import type { CheckpointFiles, TrainerRuntime } from "./trainer-runtime.ts";

/** A file of a folder in the page's own storage (the origin private file system). */
async function handleOf(folder: string, name: string, create: boolean): Promise<FileSystemFileHandle> {
  try {
    let directory = await navigator.storage.getDirectory();
    for (const part of folder.split("/").filter(Boolean)) {
      directory = await directory.getDirectoryHandle(part, { create });
    }
    return await directory.getFileHandle(name, { create });
  } catch (error) {
    throw new FileError(
      `the browser's storage has no "${folder}/${name}", or does not let this page use it: ${messageOf(error)}`,
    );
  }
}

async function write(folder: string, name: string, chunks: readonly Uint8Array[]): Promise<void> {
  const handle = await handleOf(folder, name, true);
  // The file changes when the stream is closed, as a whole.
  const stream = await handle.createWritable();
  try {
    for (const chunk of chunks) await stream.write(chunk as Uint8Array<ArrayBuffer>);
    await stream.close();
  } catch (error) {
    await stream.abort().catch(() => {});
    throw new FileError(`cannot write "${folder}/${name}" to the browser's storage: ${messageOf(error)}`);
  }
}

async function read(folder: string, name: string): Promise<Uint8Array> {
  const handle = await handleOf(folder, name, false);
  return new Uint8Array(await (await handle.getFile()).arrayBuffer());
}

/** Checkpoints in the origin private file system; data of a model in other files goes into its own. */
const files: CheckpointFiles = {
  write,
  read,
  writeModel: (folder, model) => write(folder, "model.onnx", inlineExternal(model).chunks),
  readModel: async (folder) => decodeModel(await read(folder, "model.onnx")),
};

/** Training in a browser. */
export const webRuntime: TrainerRuntime = { probe: webProbe, backends: [wasmBackend, webgpuBackend], files };
