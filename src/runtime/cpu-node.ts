import { InferenceSession } from "onnxruntime-node";
import { blockConvolutions, channelBlock } from "../lowering/blocked-convolution.ts";
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
  loops: true,
  lowering: async () => {
    const block = await channelBlock(nodeProbe);
    return block ? (graph, emit) => blockConvolutions(graph, emit, block) : undefined;
  },
  openStep: async (step, options) => new HostStepSession(await open(step.model.bytes, options), step),
  openForward: async (model, options) => new OrtForwardSession(await open(model, options)),
};
