import type { Probe } from "../analysis/probe.ts";
import { create } from "./gpu-device-web.ts";
import { ortProbe } from "./ort-probe.ts";

/** The {@link Probe} of the browser entry: onnxruntime-web on WebAssembly. */
export const webProbe: Probe = ortProbe(create, "wasm");
