import { InferenceSession } from "onnxruntime-node";
import { webGpuBackendOn } from "./device-session.ts";
import { nodeProbe } from "./probe-node.ts";
import type { Backend } from "./step-session.ts";

/** Native WebGPU of onnxruntime-node. */
export const webgpuBackend: Backend = webGpuBackendOn({
  create: (model, options) => InferenceSession.create(model, options),
  executionProvider: "webgpu",
  probe: nodeProbe,
});
