import type { Probe } from "../analysis/probe.ts";
import type { Model } from "../onnx/model.ts";
import type { Backend } from "./step-session.ts";

/** Where checkpoints go; the node entry writes files. */
export interface CheckpointFiles {
  /** Writes a file of a folder whole or not at all, over an older one. */
  write(folder: string, name: string, chunks: readonly Uint8Array[]): Promise<void>;
  read(folder: string, name: string): Promise<Uint8Array>;
  /** Writes a model as `model.onnx`, with the files in which it keeps data. */
  writeModel(folder: string, model: Model): Promise<void>;
  readModel(folder: string): Promise<Model>;
}

/** What an entry (node, web) supplies to a trainer. */
export interface TrainerRuntime {
  readonly probe: Probe;
  /** The first one is used where none is named. */
  readonly backends: readonly [Backend, ...Backend[]];
  readonly files: CheckpointFiles;
}
