import { InferenceSession } from "onnxruntime-node";
import type { Probe, ProbedOutput } from "../analysis/probe.ts";
import { messageOf, SorthError } from "../errors.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { dataTypeOf, fromOrtTensor, toOrtTensor } from "./ort-tensor.ts";

/** Only fatal messages of ONNX Runtime reach stderr; everything else is thrown. */
const quiet = {
  executionProviders: ["cpu"],
  logSeverityLevel: 4,
} as const satisfies InferenceSession.SessionOptions;

/** ONNX Runtime's message in one line, without the source positions and stacks that some builds add. */
export function ortMessage(error: unknown): string {
  return messageOf(error)
    .replace(/\/\S+\/(onnxruntime|onnx)\/\S+?:\d+\s+/g, "")
    .replace(/\s+/g, " ")
    .trim();
}

async function open(model: Uint8Array, options: InferenceSession.SessionOptions): Promise<InferenceSession> {
  try {
    return await InferenceSession.create(model, { ...quiet, ...options });
  } catch (error) {
    throw new SorthError(`ONNX Runtime refuses the model: ${ortMessage(error)}`);
  }
}

/** The {@link Probe} of the node entry: onnxruntime-node on the CPU. */
export const nodeProbe: Probe = {
  async outputs(model) {
    const session = await open(model, { graphOptimizationLevel: "basic", intraOpNumThreads: 1 });
    try {
      return session.outputMetadata.map(
        (output): ProbedOutput =>
          output.isTensor
            ? { name: output.name, isTensor: true, type: dataTypeOf(output.type), shape: output.shape }
            : { name: output.name, isTensor: false, type: undefined, shape: undefined },
      );
    } finally {
      await session.release();
    }
  },

  async run(model, feeds, options = {}) {
    const session = await open(
      model,
      options.optimize === false ? { graphOptimizationLevel: "disabled" } : {},
    );
    try {
      const results = await session.run(
        Object.fromEntries([...feeds].map(([name, tensor]) => [name, toOrtTensor(tensor)])),
      );
      return new Map<string, Tensor>(
        session.outputNames.flatMap((name) => {
          const result = results[name];
          return result ? [[name, fromOrtTensor(name, result)] as const] : [];
        }),
      );
    } catch (error) {
      throw new SorthError(`ONNX Runtime cannot run the model: ${ortMessage(error)}`);
    } finally {
      await session.release();
    }
  },
};
