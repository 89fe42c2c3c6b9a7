import { checkDataset } from "../data/check-dataset.ts";
import { checkTokens } from "../data/check-tokens.ts";
import type { Dataset } from "../data/dataset.ts";
import { UsageError } from "../errors.ts";
import type { OptionNames } from "../known-options.ts";
import { checkModel } from "../onnx/check-model.ts";
import type { Model } from "../onnx/model.ts";
import { checkBuckets, checkNormalization } from "./check-trainer-options.ts";
import type { ModelRunOptions } from "./model-run.ts";
import type { SessionOptions } from "./step-session.ts";

/** Names of {@link SessionOptions}. */
export const sessionNames = {
  ...{ threads: true, allowFallback: "flag", onMessage: "function" },
} as const satisfies OptionNames<SessionOptions>;

/** Names of {@link ModelRunOptions}. */
export const modelRunNames = {
  ...sessionNames,
  ...{ output: "text", batch: true, normalize: true, backend: true, signal: "signal", buckets: "list" },
} as const satisfies OptionNames<ModelRunOptions>;

/** @throws UsageError for options of a run over a dataset that would have no effect, or have no such value, and for what is no model or no dataset */
export function checkRunOptions(
  { normalize, allowFallback, backend, buckets }: ModelRunOptions,
  model: Model,
  dataset: Dataset,
): void {
  checkModel(model);
  checkDataset(dataset);
  checkTokens(dataset, model);
  checkNormalization(normalize);
  if (buckets) checkBuckets({ buckets });
  checkFallback(allowFallback, backend);
}

/** @throws UsageError where nothing can fall back on the CPU, because everything runs there */
export function checkFallback(allowFallback: boolean | undefined, backend: string | undefined): void {
  if (!allowFallback || backend === "webgpu" || backend === "cuda") return;
  throw new UsageError(
    "allowFallback (--allow-fallback) belongs to the backends cuda and webgpu: on the CPU everything runs there",
  );
}
