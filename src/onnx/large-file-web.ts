import { blobFile, externalSource, type WebFile } from "./external-web.ts";
import { decodeModel, Model, type ModelSource } from "./model.ts";
import { skim, skimPieces } from "./skim.ts";

/**
 * A model and its external data in a browser.
 * @throws SorthError when the content is not an ONNX model
 */
export async function modelOfFiles(file: WebFile, external: ReadonlyMap<string, WebFile>): Promise<Model> {
  const source = await externalSource(external);
  if (!(file instanceof Blob))
    return decodeModel(file instanceof Uint8Array ? file : new Uint8Array(file), source);
  const inBlob = "FileReaderSync" in globalThis ? modelInBlob(file, source) : undefined;
  return inBlob ?? decodeModel(new Uint8Array(await file.arrayBuffer()), source);
}

/** A model whose weights stay in its file; undefined for a file that has to be read as a whole. */
function modelInBlob(blob: Blob, source: ModelSource): Model | undefined {
  const file = blobFile(blob, blob instanceof File ? blob.name : "model.onnx");
  const skimmed = skim(file);
  if (!skimmed) return undefined;
  const model = Model.fromSkimmed(file, skimmed, source, skimPieces);
  void model.proto;
  return model;
}
