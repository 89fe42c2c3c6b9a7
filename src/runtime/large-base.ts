import { quantized } from "../analysis/quantized.ts";
import type { Model } from "../onnx/model.ts";
import { bytesInFiles } from "../onnx/weights-in-files.ts";

/**
 * From this many bytes of mapped weights on, sessions read them as they lie in the file. ONNX Runtime otherwise packs the
 * weights of products anew, in memory of its own, and does so for each product that reads them (docs/decisions.md).
 */
const unpackedFrom = 32 * 2 ** 20;

/** Whether a model's frozen weights are so large that memory decides how it is run. */
export const isLargeBase = (model: Model): boolean => bytesInFiles(model) >= unpackedFrom;

/**
 * The session's configuration that leaves large mapped weights where they are. Operators on quantized numbers, of which ONNX Runtime
 * may make others, are up to ten times slower unpacked.
 */
export function unpackedWeights(model: Model): Record<string, string> {
  const nodes = model.proto.graph?.node ?? [];
  const keeps = isLargeBase(model) && !nodes.some(({ opType }) => quantized.test(opType ?? ""));
  return keeps ? { disable_prepacking: "1" } : {};
}
