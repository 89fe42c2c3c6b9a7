import type { InferenceSession } from "onnxruntime-common";
import type { Model } from "../onnx/model.ts";
import { loopsOn, loweringFor } from "../passes/backends/table.ts";
import { dataFolder } from "./data-folder-node.ts";
import { HostStepSession } from "./host-step-session.ts";
import { ortNode } from "./ort-node.ts";
import { onlyUsefulOptimizers } from "./ort-optimizers.ts";
import { OrtForwardSession, opened } from "./ort-session.ts";
import { nodeProbe } from "./probe-node.ts";
import type { Backend, SessionOptions } from "./step-session.ts";

async function open(model: Model, { threads }: SessionOptions): Promise<InferenceSession> {
  const ort = await ortNode();
  return opened(
    ort.InferenceSession.create(model.bytes, {
      executionProviders: ["cpu"],
      logSeverityLevel: 4,
      extra: { ...dataFolder(model).extra, ...onlyUsefulOptimizers(model) },
      ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
    }),
  );
}

/** onnxruntime-node on the CPU. */
export const cpuBackend: Backend = {
  name: "cpu",
  loops: loopsOn("cpu"),
  stateOnDevice: false,
  lowering: () => loweringFor("cpu", nodeProbe),
  openStep: async (step, options) =>
    new HostStepSession(await open(step.model, options), step, (await ortNode()).Tensor),
  openForward: async (model, options) => new OrtForwardSession(await open(model, options)),
};
