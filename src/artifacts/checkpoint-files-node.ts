import { checkText } from "../check-arguments.ts";
import { FileError } from "../errors.ts";
import { readOrdinary } from "../onnx/read-file.ts";
import { reasonOf, type WriteOptions, writeFileSafely } from "../onnx/write-file.ts";
import { decodeCheckpoint, encodeCheckpoint, type OrtCheckpoint } from "./checkpoint.ts";

/**
 * Reads a checkpoint file of ONNX Runtime's training API.
 * @throws SorthError when it cannot be read or is damaged
 *
 * @example
 * const { parameters } = await readCheckpoint("artifacts/checkpoint");
 */
export async function readCheckpoint(path: string): Promise<OrtCheckpoint> {
  checkText("the path of a checkpoint", path);
  let bytes: Uint8Array;
  try {
    bytes = await readOrdinary(path);
  } catch (error) {
    throw new FileError(`cannot read the checkpoint "${path}": ${reasonOf(error)}`);
  }
  return decodeCheckpoint(bytes, `"${path}"`);
}

/**
 * Atomically writes a checkpoint file that ONNX Runtime's training API (1.19.2) loads.
 * @throws UsageError when the file exists and `force` is not set; SorthError when it cannot be written
 */
export async function writeCheckpoint(
  path: string,
  checkpoint: OrtCheckpoint,
  options: WriteOptions = {},
): Promise<void> {
  checkText("the path of a checkpoint", path);
  await writeFileSafely(path, encodeCheckpoint(checkpoint), options);
}
