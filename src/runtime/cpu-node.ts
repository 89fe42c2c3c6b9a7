import type { InferenceSession } from "onnxruntime-common";
import { loopsOn, loweringFor } from "../lowering/table.ts";
import { HostStepSession } from "./host-step-session.ts";
import { ortNode } from "./ort-node.ts";
import { OrtForwardSession, opened } from "./ort-session.ts";
import { nodeProbe } from "./probe-node.ts";
import type { Backend, SessionOptions } from "./step-session.ts";

async function open(model: Uint8Array, { threads }: SessionOptions): Promise<InferenceSession> {
  const ort = await ortNode();
  return opened(
    ort.InferenceSession.create(model, {
      executionProviders: ["cpu"],
      logSeverityLevel: 4,
      ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
    }),
  );
}

/** onnxruntime-node on the CPU. */
export const cpuBackend: Backend = {
  name: "cpu",
  loops: loopsOn("cpu"),
  lowering: () => loweringFor("cpu", nodeProbe),
  openStep: async (step, options) =>
    new HostStepSession(await open(step.model.bytes, options), step, (await ortNode()).Tensor),
  openForward: async (model, options) => new OrtForwardSession(await open(model, options)),
};
