import { InferenceSession } from "onnxruntime-node";
import { loopsOn, loweringFor } from "../lowering/table.ts";
import { HostStepSession } from "./host-step-session.ts";
import { OrtForwardSession, opened } from "./ort-session.ts";
import { nodeProbe } from "./probe-node.ts";
import type { Backend, SessionOptions } from "./step-session.ts";

async function open(model: Uint8Array, { threads }: SessionOptions): Promise<InferenceSession> {
  return opened(
    InferenceSession.create(model, {
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
  openStep: async (step, options) => new HostStepSession(await open(step.model.bytes, options), step),
  openForward: async (model, options) => new OrtForwardSession(await open(model, options)),
};
