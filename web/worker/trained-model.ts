import { strToU8, zipSync } from "fflate";
import { hasAdapters } from "../../src/analysis/adapter-names.ts";
import { conversionOf, type DataConversion, withConversion } from "../../src/data/conversion.ts";
import { recordOfObjective, withoutLoss } from "../../src/runtime/data-record.ts";
import {
  adapterOf,
  encodeAdapter,
  type Model,
  mergeAdapters,
  rescuedInference,
  type Trainer,
  UsageError,
} from "../../src/web.ts";
import { headSummary } from "./head-of.ts";
import type { RunParts } from "./keeper.ts";
import { imageConversion } from "./open-data.ts";

/**
 * The model of a run as it stands, with the names of its classes and how its data were converted, which the command line reads.
 * Adapters are folded into the weights, and artifacts become a model that any ONNX Runtime can run.
 */
export async function trainedModel(trainer: Trainer, parts: RunParts): Promise<Model> {
  await trainer.readState();
  let model = trainer.export();
  if (parts.opened.rescued) model = inferenceForm(model) ?? model;
  if (hasAdapters(model)) model = await mergeAdapters(model);
  const record = recordOf(trainer, parts);
  return record ? withConversion(model, record) : model;
}

/**
 * The adapter of a run as it stands: an archive of the two files that `PeftModel.from_pretrained` reads from a folder.
 * @throws SorthError if the run has none
 */
export async function trainedAdapter(trainer: Trainer): Promise<Uint8Array<ArrayBuffer>> {
  await trainer.readState();
  const { tensors, config } = await encodeAdapter(await adapterOf(trainer.export()));
  const files = { "adapter_model.safetensors": tensors, "adapter_config.json": strToU8(config) };
  // Weights look like random numbers, which do not compress.
  return zipSync(files, { level: 0 });
}

/** Names of the model's classes, by label; undefined where nothing names them. */
export function classNamesOf({ opened, data }: RunParts): readonly string[] | undefined {
  const head = headSummary(opened);
  const isNamed = typeof head !== "string" && head.units === data.names?.length;
  return conversionOf(opened.original)?.classes ?? (isNamed ? data.names : undefined);
}

/** What the model records about its data; undefined if there is nothing to record. */
function recordOf(trainer: Trainer, parts: RunParts): DataConversion | undefined {
  const { opened, data } = parts;
  const before = conversionOf(opened.original);
  // Another loss may have trained the model before.
  const former = before && { ...withoutLoss(before), ...recordOfObjective(trainer) };
  const classes = classNamesOf(parts);
  const shape = opened.inspection.inputs[0]?.shape.slice(1) ?? [];
  const { normalize } = trainer.options;
  if (!classes && normalize === undefined && data.source.kind !== "images") return former;
  return {
    ...{ ...former, version: 1 as const },
    ...(normalize !== undefined && { normalize }),
    ...(classes && { classes }),
    ...(data.source.kind === "images" && { images: imageConversion(shape) }),
  };
}

/** Removes the loss from a trained model that holds one; undefined if the loss does not show which value is the prediction. */
function inferenceForm(trained: Model): Model | undefined {
  try {
    return rescuedInference(trained);
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}
