import { UsageError } from "../errors.ts";
import { whatIs } from "../what-is.ts";
import { blobFile, externalSource, type WebFile } from "./external-web.ts";
import { decodeModel, Model, type ModelSource } from "./model.ts";
import { skim, skimPieces } from "./skim.ts";

/**
 * A model and its external data in a browser.
 * @throws SorthError when the content is not an ONNX model, UsageError for what is no file
 */
export async function modelOfFiles(file: WebFile, external: ReadonlyMap<string, WebFile>): Promise<Model> {
  if (!(external instanceof Map)) {
    throw new UsageError(
      `external data are a Map of the names that the model uses, as in new Map([["model.onnx.data", file]]), not ${whatIs(external)}`,
    );
  }
  checkFile("a model", file);
  for (const [name, data] of external) checkFile(`the external data file "${name}"`, data);
  const source = await externalSource(external);
  if (file instanceof Uint8Array || file instanceof ArrayBuffer)
    return decodeModel(file instanceof Uint8Array ? file : new Uint8Array(file), source);
  if (!(file instanceof Blob))
    return decodeModel(new Uint8Array(await (file as Response).arrayBuffer()), source);
  const inBlob = "FileReaderSync" in globalThis ? modelInBlob(file, source) : undefined;
  return inBlob ?? decodeModel(new Uint8Array(await file.arrayBuffer()), source);
}

/** @throws UsageError for what has no bytes, such as an address */
function checkFile(what: string, file: WebFile): void {
  if (file instanceof Uint8Array || file instanceof ArrayBuffer) return;
  if (typeof (file as Blob | undefined)?.arrayBuffer === "function") return;
  throw new UsageError(
    `${what} is read from a File, a Blob or bytes, as in await (await fetch(address)).arrayBuffer(), not from ${whatIs(file)}`,
  );
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
