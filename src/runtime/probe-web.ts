import { InferenceSession } from "onnxruntime-web/webgpu";
import type { Probe } from "../analysis/probe.ts";
import { ortProbe } from "./ort-probe.ts";

/** The {@link Probe} of the web entry: onnxruntime-web's WebAssembly build. */
export const webProbe: Probe = ortProbe((model, options) => InferenceSession.create(model, options), "wasm");
