import { checkModel } from "./check-model.ts";
import type { WebFile } from "./external-web.ts";
import { decodeModel, type Model } from "./model.ts";
import { blobParts } from "./stored.ts";

export type { WebFile } from "./external-web.ts";

/** Size of a file in bytes from which a worker reads the numbers of its weights when they are needed. */
const largeFile = 4 * 1024 * 1024;

/**
 * Reads an ONNX model from a file that the user chose, or from fetched bytes. In a worker, a `File` or another `Blob` stays where it is,
 * the model's own from 4 MiB on, and external data: what is needed of them is read when it is needed, and sessions take frozen weights from there.
 * @param external - the model's external data files, by the names that the model uses
 * @throws SorthError when the content is not an ONNX model
 *
 * @example
 * const model = await readModel(input.files[0], new Map([["weights.bin", input.files[1]]]));
 */
export async function readModel(
  file: WebFile,
  external: ReadonlyMap<string, WebFile> = new Map(),
): Promise<Model> {
  let content = file;
  const isBlob = file instanceof Blob;
  if (file instanceof Uint8Array || file instanceof ArrayBuffer || (isBlob && file.size < largeFile)) {
    const bytes =
      file instanceof Uint8Array ? file : new Uint8Array(isBlob ? await file.arrayBuffer() : file);
    const model = decodeModel(bytes);
    if (external.size === 0 && model.externalLocations.size === 0) return model;
    content = bytes;
  }
  return (await import("./large-file-web.ts")).modelOfFiles(content, external);
}

/** A model as a Blob to download, without its external data. */
export function modelBlob(model: Model): Blob {
  checkModel(model);
  return new Blob(blobParts(model.pieces), { type: "application/octet-stream" });
}
