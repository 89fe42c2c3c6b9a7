import type { WebFile } from "./external-web.ts";
import { decodeModel, type Model } from "./model.ts";

export type { WebFile } from "./external-web.ts";

/**
 * Reads an ONNX model from a file that the user chose, or from fetched bytes. In a worker, external data that are a `File` or another
 * `Blob` stay there: what is needed of them is read when it is needed, and sessions take frozen weights from the file.
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
  const bytes =
    file instanceof Uint8Array
      ? file
      : new Uint8Array(file instanceof ArrayBuffer ? file : await file.arrayBuffer());
  const model = decodeModel(bytes);
  if (external.size === 0 && model.externalLocations.size === 0) return model;
  return decodeModel(bytes, await (await import("./external-web.ts")).externalSource(external));
}

/** A model as a Blob to download, without its external data. */
export function modelBlob(model: Model): Blob {
  return new Blob([...model.chunks] as BlobPart[], { type: "application/octet-stream" });
}
