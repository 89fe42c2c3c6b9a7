import { inject as injectOn } from "./inject/inject.ts";
import type { InjectOptions } from "./inject/options.ts";
import type { Model } from "./onnx/model.ts";
import { webProbe } from "./runtime/probe-web.ts";

export { SorthError, UsageError } from "./errors.ts";
export type { InjectOptions } from "./inject/options.ts";
export { strip } from "./inject/strip.ts";
export { modelBlob, readModel, type WebFile } from "./onnx/files-web.ts";
export { decodeModel, encodeModel, Model } from "./onnx/model.ts";
export { definePenalty } from "./penalties/define.ts";
export type { PenaltyPlan } from "./penalties/plan.ts";
export { som } from "./penalties/som.ts";

/**
 * Adds penalties to a model; see `inject` of the node entry. ONNX Runtime's WebAssembly build infers the shapes.
 *
 * @example
 * const model = await inject(await readModel(file), { penalties: [som()] });
 */
export function inject(model: Model, options: InjectOptions): Promise<Model> {
  return injectOn(model, options, webProbe);
}
