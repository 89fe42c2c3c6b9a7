import { InferenceSession } from "onnxruntime-node";
import type { Tensor } from "../../src/onnx/tensor.ts";
import { sessionEntries } from "../../src/runtime/ort-probe.ts";
import { fromOrtTensor, toOrtTensor } from "../../src/runtime/ort-tensor.ts";

/** Sessions that stay open, by the bytes of their model; the one that was used least lately is first. */
const opened = new Map<Uint8Array, InferenceSession>();
/** A check alternates between a model and its gradient. */
const atMost = 2;

/**
 * Runs a small model on the CPU as the probe does. Its session stays open for the next runs of the same bytes: to open one
 * takes many times as long as to run it, and difference quotients run the same model again and again.
 */
export async function runOpened(
  bytes: Uint8Array,
  feeds: ReadonlyMap<string, Tensor>,
  { optimize = true }: { readonly optimize?: boolean } = {},
): Promise<Map<string, Tensor>> {
  const session =
    opened.get(bytes) ??
    (await InferenceSession.create(bytes, {
      ...{ intraOpNumThreads: 1, logSeverityLevel: 4, extra: sessionEntries() },
      ...(!optimize && { graphOptimizationLevel: "disabled" }),
    }));
  opened.delete(bytes);
  opened.set(bytes, session);
  for (const [least, idle] of [...opened].slice(0, -atMost)) {
    opened.delete(least);
    await idle.release();
  }
  const results = await session.run(
    Object.fromEntries([...feeds].map(([name, tensor]) => [name, toOrtTensor(tensor)])),
  );
  return new Map(
    session.outputNames.flatMap((name) => {
      const result = results[name];
      return result ? [[name, fromOrtTensor(name, result)] as const] : [];
    }),
  );
}
