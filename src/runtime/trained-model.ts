import { batchNormKey } from "../analysis/batch-norm-form.ts";
import type { Probe } from "../analysis/probe.ts";
import { UsageError } from "../errors.ts";
import type { Model } from "../onnx/model.ts";
import type { AveragedOption } from "./averages.ts";
import type { TrainerOptions } from "./trainer-options.ts";

/** Options of `Trainer.export`. */
export interface ExportOptions extends AveragedOption {
  /** Leaves an injected penalty in the model. */
  readonly keepPenalty?: boolean;
  /** Whether the adapters of the option `lora`, or a recovered BatchNorm, are folded into the weights; default true. */
  readonly merge?: boolean;
}

/** Whether a model holds BatchNormalization nodes that `recoverBatchNorm` has put into it. */
const hasRecoveredBatchNorm = ({ proto }: Model): boolean =>
  proto.metadataProps?.some(({ key }) => key === batchNormKey) ?? false;

/** What folds a recovered BatchNorm again before the caller gets a trained model. */
async function finishOf(model: Model): Promise<(trained: Model) => Model> {
  if (!hasRecoveredBatchNorm(model)) return (trained) => trained;
  const { foldBatchNorm } = await import("../batch-norm/fold-batch-norm.ts");
  return foldBatchNorm;
}

/** The model that a run trains, and how it becomes the one that the run writes. */
export interface TrainedModel {
  /** With adapters beside its layers, if the options ask for them. */
  readonly model: Model;
  /** The model that the trainer was given: checkpoints hold it. */
  readonly source: Model;
  /** Folds adapters, or a recovered BatchNorm, into the weights, where these take them. */
  readonly merged: (trained: Model) => Model;
}

/** Prepares a model for a run: adds the adapters that the option `lora` asks for. */
export async function trainedModel(
  source: Model,
  {
    lora,
    batch,
    dims,
    seed = 0,
    onMessage,
  }: Pick<TrainerOptions, "lora" | "batch" | "dims" | "seed" | "onMessage">,
  probe: Probe,
): Promise<TrainedModel> {
  if (!lora) return { model: source, source, merged: await finishOf(source) };
  if (hasRecoveredBatchNorm(source)) {
    throw new UsageError(
      "LoRA leaves the weights as they are, and a recovered BatchNorm is folded into them: train with one of the two",
    );
  }
  const { addAdapters } = await import("../adapters/add.ts");
  const { foldAdapters, reasonAgainstMerging } = await import("../adapters/merge.ts");
  const model = await addAdapters(
    source,
    {
      seed,
      ...lora,
      ...(batch !== undefined && { batch }),
      ...(dims && { dims }),
      ...(onMessage && { onMessage }),
    },
    probe,
  );
  const reason = reasonAgainstMerging(model);
  if (reason === undefined) return { model, source, merged: foldAdapters };
  onMessage?.(`the trained model keeps its adapters beside its weights, which take no products: ${reason}`);
  return { model, source, merged: (trained) => trained };
}
