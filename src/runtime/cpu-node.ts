import type { InferenceSession } from "onnxruntime-common";
import type { Model } from "../onnx/model.ts";
import { loopsOn, loweringFor } from "../passes/backends/table.ts";
import { dataFolder, inMappedForm } from "./data-folder-node.ts";
import { HostStepSession } from "./host-step-session.ts";
import { isLargeBase, unpackedWeights } from "./large-base.ts";
import { ortNode } from "./ort-node.ts";
import { onlyUsefulOptimizers } from "./ort-optimizers.ts";
import { sessionEntries } from "./ort-probe.ts";
import { OrtForwardSession, opened, profiling } from "./ort-session.ts";
import { nodeProbe } from "./probe-node.ts";
import type { Backend, StepSessionOptions } from "./step-session.ts";
import { leavingOutputs, uncopied } from "./uncopied-outputs.ts";

async function open(given: Model, options: StepSessionOptions): Promise<InferenceSession> {
  const { threads } = options;
  const ort = await ortNode();
  const model = inMappedForm(given);
  return opened(
    ort.InferenceSession.create(model.bytes, {
      executionProviders: ["cpu"],
      logSeverityLevel: 4,
      // Memory patterns plan a second arena beside the first: twice the memory, and no faster (docs/decisions.md).
      enableMemPattern: false,
      extra: {
        ...sessionEntries({ ...dataFolder(model), ...unpackedWeights(model) }),
        ...onlyUsefulOptimizers(model),
      },
      ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
      ...profiling(options),
    }),
  );
}

/** onnxruntime-node on the CPU. */
export const cpuBackend: Backend = {
  name: "cpu",
  loops: loopsOn("cpu"),
  stateOnDevice: false,
  oneStepARun: ({ model }) => isLargeBase(model),
  lowering: () => loweringFor("cpu", nodeProbe),
  openStep: async (step, options) => {
    const quiet = await uncopied();
    const session = await open(quiet ? leavingOutputs(step.model) : step.model, options);
    return new HostStepSession(session, step, (await ortNode()).Tensor, quiet, options.beside);
  },
  openForward: async (model, options) => new OrtForwardSession(await open(model, options)),
};
