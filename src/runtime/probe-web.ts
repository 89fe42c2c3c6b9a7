import type { Probe } from "../analysis/probe.ts";
import { create } from "./gpu-device-web.ts";
import { ortProbe, type SessionFiles } from "./ort-probe.ts";

/** How sessions of a browser read the files of models. */
export const webFiles: SessionFiles = async (model) =>
  (await import("./session-files-web.ts")).mountedFiles(model);

/** The {@link Probe} of the browser entry: onnxruntime-web on WebAssembly. It opens every model that onnxruntime-node opens. */
export const webProbe: Probe = ortProbe(
  async (model, options) =>
    create(
      mayHold(model, "Dropout") ? (await import("./web-model.ts")).withoutDropout(model) : model,
      options,
    ),
  "wasm",
  webFiles,
);

/** Whether bytes contain a word. */
function mayHold(bytes: Uint8Array, word: string): boolean {
  const letters = new TextEncoder().encode(word);
  const [first = 0] = letters;
  for (let at = bytes.indexOf(first); at >= 0; at = bytes.indexOf(first, at + 1)) {
    if (letters.every((letter, offset) => bytes[at + offset] === letter)) return true;
  }
  return false;
}
