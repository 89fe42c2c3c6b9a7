import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { readCheckpoint } from "../artifacts/checkpoint-files-node.ts";
import { checkText } from "../check-arguments.ts";
import { checkKnown } from "../known-options.ts";
import { readModel } from "../onnx/files-node.ts";
import { type RescuedModel, rescueModel } from "../programs/rescue.ts";

/** Options of {@link rescueFiles}. */
export interface RescueFileOptions {
  /** The checkpoint to continue from; default: the file `checkpoint` beside the training model. */
  readonly checkpoint?: string;
}

/**
 * Reads the artifacts of a run of ONNX Runtime's training API, for {@link Trainer.rescue}: a training model, its checkpoint
 * and, if there is one beside it, the optimizer_model.onnx.
 * @param path - path of training_model.onnx
 * @throws SorthError when a file cannot be read, and as {@link rescueModel} does
 *
 * @example
 * const run = await rescueFiles("artifacts/training_model.onnx");
 * const trainer = await Trainer.rescue(run, { batch: 16 });
 */
export async function rescueFiles(path: string, options: RescueFileOptions = {}): Promise<RescuedModel> {
  checkText("the path of a training model", path);
  checkKnown("rescueFiles", options, { checkpoint: "text" });
  const folder = dirname(path);
  const checkpoint = await readCheckpoint(options.checkpoint ?? join(folder, "checkpoint"));
  const optimizer = join(folder, "optimizer_model.onnx");
  const isThere = await stat(optimizer).catch(() => undefined);
  return rescueModel(await readModel(path), checkpoint, isThere && (await readModel(optimizer)));
}
