import cnn from "../../models/cnn.onnx?url";
import mlp from "../../models/mlp.onnx?url";
import pointnet from "../../models/pointnet.onnx?url";
import { SorthError } from "../../src/web.ts";
import type { ChosenFile, SampleName } from "../protocol.ts";

const samples: Readonly<Record<SampleName, string>> = { mlp, cnn, pointnet };

/** A sample model, in the form of a chosen file. */
export async function sampleFile(name: SampleName): Promise<ChosenFile> {
  return { path: `${name}.onnx`, content: new Blob([await fetched(samples[name])]) };
}

/** Fetches a file from the page's own server. @throws SorthError when it is not available */
export async function fetched(address: string): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(address).catch(() => undefined);
  const name = address.split("/").at(-1);
  if (!response) throw new SorthError(`${name} cannot be loaded: the page's server does not answer`);
  if (!response.ok)
    throw new SorthError(`${name} cannot be loaded: the page's server answers ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** The last part of a path. */
export const baseName = (path: string): string => path.split("/").at(-1) ?? path;
