import type { InferenceSession } from "onnxruntime-common";
import type { Probe, ProbedOutput } from "../analysis/probe.ts";
import { messageOf, RuntimeError, SorthError } from "../errors.ts";
import { knowsFiles, type Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { bytesInFiles } from "../onnx/weights-in-files.ts";
import { dataTypeOf, fromOrtTensor, toOrtTensor } from "./ort-tensor.ts";

/** How a build of ONNX Runtime opens a model. */
export type OpenSession = (
  model: Uint8Array,
  options: InferenceSession.SessionOptions,
) => Promise<InferenceSession>;

/** Entries of a session's configuration by name. */
export type SessionEntries = Readonly<Record<string, string>>;

/**
 * The given entries, and the one that every session here has: without it ONNX Runtime fuses DequantizeLinear and MatMul on the
 * CPU into a product that rounds the activations to int8 (docs/decisions.md, "Quantized bases").
 */
export const sessionEntries = (entries: SessionEntries = {}): { readonly session: SessionEntries } => ({
  session: { qdq_matmulnbits_accuracy_level: "1", ...entries },
});

/** ONNX Runtime's message in one line, without the source positions and stacks that some builds add. */
export function ortMessage(error: unknown): string {
  return messageOf(error)
    .replace(/\/\S+\/(onnxruntime|onnx)\/\S+?:\d+\s+/g, "")
    .replace(/\s+/g, " ")
    .trim();
}

/**
 * This optimizer's time grows with the square of a chain's length (22 s for 20,000 nodes, 0.6 s without it), and it finds no
 * additional shapes.
 */
const withoutShapes = "CommonSubexpressionElimination";

/** Bytes of model and inputs below which a pool of threads takes longer to start and to end than the model to run. */
const smallRun = 2 ** 16;

function isSmall(model: Uint8Array, feeds: ReadonlyMap<string, Tensor>): boolean {
  const fed = [...feeds.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  return model.length + fed <= smallRun;
}

/** A model in the form in which a session reads its files. */
export interface SessionForm {
  readonly model: Model;
  /** The session's configuration for it. */
  readonly entries: SessionEntries;
  /** The files of a browser. */
  readonly options?: Pick<InferenceSession.SessionOptions, "externalData">;
}

/** How sessions read the files of models. */
export type SessionFiles = (model: Model) => SessionForm | Promise<SessionForm>;

/** A model in the form in which its session is opened; without files, or where they are not known, external data are part of it. */
export async function sessionForm(model: Model, files?: SessionFiles): Promise<SessionForm> {
  if (model.externalLocations.size > 0 && !(files && knowsFiles(model))) {
    const { inlineExternal } = await import("../onnx/inline-external.ts");
    return { model: inlineExternal(model), entries: {} };
  }
  return files && (knowsFiles(model) || bytesInFiles(model) > 0) ? files(model) : { model, entries: {} };
}

/**
 * The {@link Probe} of a build of ONNX Runtime.
 * @param executionProvider - its CPU: `cpu` in node, `wasm` on the web
 * @param files - where sessions read files
 */
export function ortProbe(
  create: OpenSession,
  executionProvider: "cpu" | "wasm",
  files?: SessionFiles,
): Probe {
  const open = async (model: Uint8Array, options: InferenceSession.SessionOptions) => {
    try {
      // Only fatal messages of ONNX Runtime reach stderr; everything else is thrown.
      return await create(model, {
        executionProviders: [executionProvider],
        logSeverityLevel: 4,
        ...options,
      });
    } catch (error) {
      if (error instanceof SorthError) throw error;
      throw new RuntimeError(`ONNX Runtime refuses the model: ${ortMessage(error)}`);
    }
  };
  return {
    float64: executionProvider === "cpu",

    async outputs(model, { optimize = true } = {}) {
      const session = await open(model, {
        ...{ graphOptimizationLevel: optimize ? "basic" : "disabled", intraOpNumThreads: 1 },
        extra: { optimization: { disable_specified_optimizers: withoutShapes } },
      });
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
      const form = model instanceof Uint8Array ? undefined : await sessionForm(model, files);
      const bytes = form?.model.bytes ?? (model as Uint8Array);
      const { entries = {} } = form ?? {};
      const session = await open(bytes, {
        // Weights in files are no part of the bytes.
        ...(Object.keys(entries).length === 0 && isSmall(bytes, feeds) && { intraOpNumThreads: 1 }),
        ...(options.optimize === false && { graphOptimizationLevel: "disabled" }),
        extra: sessionEntries(entries),
        ...form?.options,
      });
      try {
        // A run that is asked for a sequence or a map fails as a whole.
        const names = session.outputMetadata.flatMap(({ isTensor, name }) => (isTensor ? [name] : []));
        const inputs = Object.fromEntries([...feeds].map(([name, tensor]) => [name, toOrtTensor(tensor)]));
        const results = names.length > 0 ? await session.run(inputs, names) : {};
        return new Map<string, Tensor>(
          names.flatMap((name) => {
            const result = results[name];
            return result ? [[name, fromOrtTensor(name, result)] as const] : [];
          }),
        );
      } catch (error) {
        throw new RuntimeError(`ONNX Runtime cannot run the model: ${ortMessage(error)}`);
      } finally {
        await session.release();
      }
    },
  };
}
