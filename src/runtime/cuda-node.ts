import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { DeviceError } from "../errors.ts";
import { loopsOn, loweringFor } from "../passes/backends/table.ts";
import { mappedFiles } from "./data-folder-node.ts";
import { HostStepSession } from "./host-step-session.ts";
import { ortNode } from "./ort-node.ts";
import { OrtForwardSession } from "./ort-session.ts";
import { type OpenOnDevice, openOnDevice } from "./placement.ts";
import { nodeProbe } from "./probe-node.ts";
import type { Backend } from "./step-session.ts";

const name = "cuda";

/** Where onnxruntime-node keeps what its install script downloads, for the platform that has CUDA. */
function libraryFolder(): string {
  const main = createRequire(import.meta.url).resolve("onnxruntime-node");
  return join(dirname(main), "..", "bin", "napi-v6", process.platform, process.arch);
}

/** @throws SorthError with what to do, where CUDA cannot be used */
async function checkDevice(): Promise<void> {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new DeviceError(
      `onnxruntime-node has CUDA on Linux x64 only, this is ${process.platform} ${process.arch}; try --backend webgpu`,
    );
  }
  await ortNode();
  // Checked before ONNX Runtime looks for the libraries: it writes to stderr when it does not find them.
  if (!existsSync(join(libraryFolder(), "libonnxruntime_providers_cuda.so"))) {
    throw new DeviceError(
      "the CUDA libraries of onnxruntime-node are not installed; run: node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12",
    );
  }
}

const cuda: OpenOnDevice = {
  executionProvider: name,
  probe: nodeProbe,
  files: mappedFiles,
  async create(model, options) {
    const ort = await ortNode();
    try {
      return await ort.InferenceSession.create(model, options);
    } catch (error) {
      if (!/failed to load shared library/i.test(String(error))) throw error;
      throw new DeviceError(
        "ONNX Runtime's CUDA libraries do not load: they need CUDA 12 and cuDNN 9 where the system looks for libraries (LD_LIBRARY_PATH); the missing one is named above",
      );
    }
  },
};

/**
 * CUDA of onnxruntime-node. Its binding keeps no tensor on the device between runs: every run copies the state in and out,
 * and the Loop form does many steps per run.
 */
export const cudaBackend: Backend = {
  name,
  loops: loopsOn(name),
  stateOnDevice: false,
  checkDevice,
  lowering: () => loweringFor(name, nodeProbe),
  async openStep(step, options) {
    const on = { ...options, device: name };
    const { Tensor } = await ortNode();
    const stepSession = async (told: typeof on) =>
      new HostStepSession(
        await openOnDevice(step.model, cuda, told),
        step,
        Tensor,
        undefined,
        options.beside,
      );
    if (!step.body) return stepSession(on);
    // ONNX Runtime checks the placement only outside a Loop body. Opening the single step shows that all nodes of the body
    // run on the device.
    const single = await openOnDevice(step.body, cuda, on);
    await single.release();
    const { onMessage: _, ...quiet } = on;
    return stepSession(quiet);
  },
  openForward: async (model, options) =>
    new OrtForwardSession(await openOnDevice(model, cuda, { ...options, device: name })),
};
