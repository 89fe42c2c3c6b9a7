import type { InferenceSession } from "onnxruntime-web/webgpu";
import { RuntimeError } from "../errors.ts";
import { fileOf, partOf } from "../onnx/external-web.ts";
import { inlineExternal } from "../onnx/inline-external.ts";
import type { Model } from "../onnx/model.ts";
import { filesOfWeights, withWeightsInFiles } from "../onnx/name-files.ts";
import type { StoredFile } from "../onnx/stored.ts";
import { unpackedWeights } from "./large-base.ts";
import type { SessionForm } from "./ort-probe.ts";

/**
 * A model whose weights stay in their files, for a session in a browser. ONNX Runtime 1.30 finds no files for the weights of bodies
 * there: these become part of the bytes.
 */
export function mountedFiles(given: Model): SessionForm {
  const held = inlineExternal(given, { initializersStay: true });
  const files = new Map([...held.externalLocations].map((path) => [path, fileOf(held.files, path)]));
  // The model's own file, and those of a teacher: under names that no other has.
  const names = new Map<StoredFile, string>();
  for (const file of filesOfWeights(held)) {
    if (!file.blob) continue;
    let name = file.path;
    while (files.has(name)) name = `${name}_`;
    names.set(file, name);
    files.set(name, file.blob);
  }
  const model = withWeightsInFiles(held, (file) => names.get(file));
  const externalData = [...files].map(([path, data]) => ({
    path,
    data: data instanceof Blob ? new MountedFile(data, path) : data,
  }));
  return { model, entries: unpackedWeights(model), options: { externalData } };
}

/**
 * A file of which ONNX Runtime copies parts while it opens a session, one weight after the other. It would first read a Blob as a whole. So this
 * is an array of no bytes that reads a part when it is asked for one.
 */
class MountedFile extends Uint8Array<ArrayBuffer> {
  readonly #file: Blob;
  readonly #path: string;
  #error: unknown;
  #read = false;

  constructor(file: Blob, path: string) {
    super(new ArrayBuffer(0));
    this.#file = file;
    this.#path = path;
  }

  override get byteLength(): number {
    return this.#file.size;
  }

  override subarray(start = 0, end = this.#file.size): Uint8Array<ArrayBuffer> {
    this.#read = true;
    try {
      return partOf(this.#file, start, end, this.#path) as Uint8Array<ArrayBuffer>;
    } catch (error) {
      this.#error = error;
      throw error;
    }
  }

  /** @throws SorthError when reading failed, and when nothing was read, because ONNX Runtime then took the array of no bytes for the file */
  check(opened: boolean): void {
    if (this.#error) throw this.#error;
    if (opened && !this.#read)
      throw new RuntimeError(`ONNX Runtime opened the model without reading "${this.#path}"`);
  }
}

/** Opens a session, and checks that it read the files that are mounted for it. */
export async function openMounted(
  open: () => Promise<InferenceSession>,
  files: NonNullable<InferenceSession.SessionOptions["externalData"]>,
): Promise<InferenceSession> {
  const check = (opened: boolean) => {
    for (const file of files)
      if (typeof file !== "string" && file.data instanceof MountedFile) file.data.check(opened);
  };
  const session = await open().catch((error: unknown) => {
    check(false);
    throw error;
  });
  check(true);
  return session;
}
