import type { Probe } from "../analysis/probe.ts";
import { create } from "./gpu-device-web.ts";
import { ortProbe, type SessionFiles } from "./ort-probe.ts";
import { withoutDropout } from "./web-model.ts";

/** How sessions of a browser read the files of models. */
export const webFiles: SessionFiles = async (model) =>
  (await import("./session-files-web.ts")).mountedFiles(model);

/** The {@link Probe} of the browser entry: onnxruntime-web on WebAssembly. It opens every model that onnxruntime-node opens. */
export const webProbe: Probe = ortProbe(
  (model, options) => create(withoutDropout(model), options),
  "wasm",
  webFiles,
);
