import type { OptionNames } from "../known-options.ts";
import type { Model } from "../onnx/model.ts";
import { planOf } from "../penalties/plan.ts";
import type { TrainedModel } from "./adapted-model.ts";
import type { AveragedOption } from "./averages.ts";
import { finishOf } from "./recovered-batch-norm.ts";
import type { TrainerOptions } from "./trainer-options.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";

/** Options of `Trainer.export`. */
export interface ExportOptions extends AveragedOption {
  /** Leaves an injected penalty in the model. */
  readonly keepPenalty?: boolean;
  /** Whether the adapters of the option `lora`, or a recovered BatchNorm, are folded into the weights; default true. */
  readonly merge?: boolean;
}

/** Names of {@link ExportOptions}. */
export const exportNames = {
  ...{ averaged: "flag", keepPenalty: "flag", merge: "flag" },
} as const satisfies OptionNames<ExportOptions>;

/**
 * Prepares a model for a run: adds the adapters that the option `lora` asks for, and finds what penalties on them compare with.
 * @returns the model, and the options with these penalties
 */
export async function trainedModel(
  source: Model,
  options: TrainerOptions,
  runtime: Pick<TrainerRuntime, "probe" | "files">,
): Promise<TrainedModel & { readonly options: TrainerOptions }> {
  const { lora, penalties } = options;
  if (!lora && !penalties?.some((one) => planOf(one).penalty.definition.frozen)) {
    return { options, model: source, source, merged: await finishOf(source) };
  }
  const { adaptedModel } = await import("./adapted-model.ts");
  return adaptedModel(source, options, runtime);
}
