import { conversionOf, type DataConversion, withConversion } from "../../src/data/conversion.ts";
import { type Model, rescuedInference, type Trainer, UsageError } from "../../src/web.ts";
import { headSummary } from "./head-of.ts";
import type { RunParts } from "./keeper.ts";
import { imageConversion } from "./open-data.ts";

/**
 * The model of a run as it stands, with the names of its classes and how its data were converted, which the command line reads.
 * Artifacts become a model that any ONNX Runtime can run.
 */
export async function trainedModel(trainer: Trainer, parts: RunParts): Promise<Model> {
  await trainer.readState();
  const trained = trainer.export();
  const model = (parts.opened.rescued && inferenceForm(trained)) ?? trained;
  const record = recordOf(trainer, parts);
  return record ? withConversion(model, record) : model;
}

/** What the model records about its data; undefined if there is nothing to record. */
function recordOf({ options }: Trainer, { opened, data }: RunParts): DataConversion | undefined {
  const former = conversionOf(opened.original);
  const head = headSummary(opened);
  const isNamed = typeof head !== "string" && head.units === data.names?.length;
  const classes = former?.classes ?? (isNamed ? data.names : undefined);
  const shape = opened.inspection.inputs[0]?.shape.slice(1) ?? [];
  const { normalize } = options;
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
