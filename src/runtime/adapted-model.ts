import { addAdapters } from "../adapters/add.ts";
import { foldAdapters, reasonAgainstMerging } from "../adapters/merge.ts";
import { UsageError } from "../errors.ts";
import { given } from "../given.ts";
import type { Model } from "../onnx/model.ts";
import { finishOf, hasRecoveredBatchNorm } from "./recovered-batch-norm.ts";
import type { TrainerOptions } from "./trainer-options.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";

/** The model that a run trains, and how it becomes the one that the run writes. */
export interface TrainedModel {
  /** With adapters beside its layers, if the options ask for them. */
  readonly model: Model;
  /** The model that the trainer was given: checkpoints hold it. */
  readonly source: Model;
  /** Folds adapters, or a recovered BatchNorm, into the weights, where these take them. */
  readonly merged: (trained: Model) => Model;
}

/** The model of a run with adapters, and the penalties on them. */
export async function adaptedModel(
  source: Model,
  options: TrainerOptions,
  { probe, files }: Pick<TrainerRuntime, "probe" | "files">,
): Promise<TrainedModel & { readonly options: TrainerOptions }> {
  const { lora, penalties } = options;
  const adapted = lora
    ? await withNewAdapters(source, options, probe)
    : { model: source, source, merged: await finishOf(source) };
  if (!penalties) return { ...adapted, options };
  const { storedAdapter } = await import("../adapters/stored-adapter.ts");
  const { withFrozenVectors } = await import("../adapters/frozen-vectors.ts");
  const read = (path: string) => storedAdapter(path, files.read);
  const found = await withFrozenVectors(adapted.model, penalties, { read, probe });
  return { ...adapted, options: { ...options, penalties: found } };
}

async function withNewAdapters(
  source: Model,
  { lora, batch, dims, seed = 0, onMessage }: TrainerOptions,
  probe: TrainerRuntime["probe"],
): Promise<TrainedModel> {
  if (hasRecoveredBatchNorm(source)) {
    throw new UsageError(
      "LoRA leaves the weights as they are, and a recovered BatchNorm is folded into them: train with one of the two",
    );
  }
  const model = await addAdapters(source, { seed, ...lora, ...given({ batch, dims, onMessage }) }, probe);
  const reason = reasonAgainstMerging(model);
  if (reason === undefined) return { model, source, merged: foldAdapters };
  onMessage?.(`the trained model keeps its adapters beside its weights, which take no products: ${reason}`);
  return { model, source, merged: (trained) => trained };
}
