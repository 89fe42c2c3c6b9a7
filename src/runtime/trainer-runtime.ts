import type { Probe } from "../analysis/probe.ts";
import type { Model } from "../onnx/model.ts";
import type { Backend } from "./step-session.ts";

/** Storage of checkpoints; the node entry writes files. */
export interface CheckpointFiles {
  /** Writes a file in a folder, whole or not at all, over an older one. */
  write(folder: string, name: string, chunks: Iterable<Uint8Array>): Promise<void>;
  read(folder: string, name: string): Promise<Uint8Array>;
  /** Removes a file, if it is there. */
  remove(folder: string, name: string): Promise<void>;
  /** Writes a model as `model.onnx`, with its external data. */
  writeModel(folder: string, model: Model): Promise<void>;
  readModel(folder: string): Promise<Model>;
}

/** The platform's part of a trainer; each entry (node, web) supplies one. */
export interface TrainerRuntime {
  readonly probe: Probe;
  /** All backends of the entry; the first is the default. */
  readonly backends: readonly [Backend, ...Backend[]];
  readonly files: CheckpointFiles;
}
