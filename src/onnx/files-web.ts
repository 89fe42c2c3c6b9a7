import { FileError } from "../errors.ts";
import { checkedLocation, checkedRange } from "./external.ts";
import { decodeModel, type Model } from "./model.ts";
import type { ExternalReader } from "./tensor.ts";

/** The content of a file in a browser. A `File` is a `Blob`. */
export type WebFile = Blob | ArrayBuffer | Uint8Array;

/**
 * Reads an ONNX model from a file that the user chose, or from fetched bytes.
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
  const files = new Map<string, Uint8Array>();
  for (const [name, content] of external) files.set(checkedLocation(name), await bytesOf(content));
  return decodeModel(await bytesOf(file), { external: externalReader(files) });
}

/** A model as a Blob to download, without its external data. */
export function modelBlob(model: Model): Blob {
  return new Blob([...model.chunks] as BlobPart[], { type: "application/octet-stream" });
}

/** A reader of external data files in memory; it returns views, not copies. */
export function externalReader(files: ReadonlyMap<string, Uint8Array>): ExternalReader {
  return (range) => {
    const location = checkedLocation(range.location);
    const file = files.get(location);
    if (!file) {
      throw new FileError(
        `the external data file "${location}" is missing; choose it together with the model`,
      );
    }
    const { offset, length } = checkedRange(range, file.length);
    return file.subarray(offset, offset + length);
  };
}

async function bytesOf(file: WebFile): Promise<Uint8Array> {
  if (file instanceof Uint8Array) return file;
  return new Uint8Array(file instanceof ArrayBuffer ? file : await file.arrayBuffer());
}
