import { rm } from "node:fs/promises";
import { join } from "node:path";
import { FileError } from "../errors.ts";
import { readModel, writeModel } from "../onnx/files-node.ts";
import { readOrdinary } from "../onnx/read-file.ts";
import { makeFolder, reasonOf, writeFileSafely } from "../onnx/write-file.ts";
import { cpuBackend } from "./cpu-node.ts";
import { cudaBackend } from "./cuda-node.ts";
import { nodeProbe } from "./probe-node.ts";
import type { CheckpointFiles, TrainerRuntime } from "./trainer-runtime.ts";
import { webgpuBackend } from "./webgpu-node.ts";

/** Checkpoints as files in a folder, which is created on the first write. */
const files: CheckpointFiles = {
  async write(folder, name, chunks) {
    makeFolder(folder);
    await writeFileSafely(join(folder, name), chunks, { force: true });
  },
  async read(folder, name) {
    const path = join(folder, name);
    try {
      return await readOrdinary(path);
    } catch (error) {
      throw new FileError(
        `${path} cannot be read: ${reasonOf(error)}; give the folder of a run that was saved`,
      );
    }
  },
  remove: (folder, name) => rm(join(folder, name), { force: true }),
  async writeModel(folder, model) {
    makeFolder(folder);
    await writeModel(model, join(folder, "model.onnx"), { force: true });
  },
  readModel: (folder) => readModel(join(folder, "model.onnx")),
};

/** Training in node, on onnxruntime-node. */
export const nodeRuntime: TrainerRuntime = {
  probe: nodeProbe,
  backends: [cpuBackend, cudaBackend, webgpuBackend],
  files,
};
