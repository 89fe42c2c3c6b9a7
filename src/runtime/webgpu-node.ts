import { DeviceError } from "../errors.ts";
import { mappedFiles } from "./data-folder-node.ts";
import { webGpuBackendOn } from "./device-session.ts";
import { ortNode } from "./ort-node.ts";
import { ortMessage } from "./ort-probe.ts";
import { nodeProbe } from "./probe-node.ts";
import type { Backend } from "./step-session.ts";

/** ONNX Runtime's message where there is no GPU, or no driver for it. */
const noAdapter = /Failed to get a WebGPU adapter: ([^;]*)/;

/** Native WebGPU of onnxruntime-node. */
export const webgpuBackend: Backend = webGpuBackendOn({
  async create(model, options) {
    const ort = await ortNode();
    try {
      return await ort.InferenceSession.create(model, options);
    } catch (error) {
      const [, reason] = noAdapter.exec(ortMessage(error)) ?? [];
      if (reason === undefined) throw error;
      throw new DeviceError(
        `onnxruntime-node finds no GPU for WebGPU (${reason.trim()}); on Linux it needs a Vulkan driver and its loader (libvulkan1); train on the CPU instead`,
      );
    }
  },
  executionProvider: "webgpu",
  probe: nodeProbe,
  files: mappedFiles,
});
