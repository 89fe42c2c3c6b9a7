import { conversionOf } from "../../src/data/conversion.ts";
import { addAdapters, inspect, replaceHead, SorthError } from "../../src/web.ts";
import type { FineTuning, Settings } from "../protocol.ts";
import { headOf, headSummary } from "./head-of.ts";
import type { OpenedData } from "./open-data.ts";
import type { OpenedModel } from "./open-model.ts";
import { relabelled } from "./relabelled.ts";

/** The parts of a run that fine-tuning changes. */
export interface Prepared {
  readonly opened: OpenedModel;
  readonly data: OpenedData;
}

/** Nothing of a model changes. */
const untouched: FineTuning = { train: "all" };

/**
 * Gives a model the new classes that the settings name, and data the labels of these names.
 * @param tell - receives what was changed
 * @throws SorthError when the names do not match, or the model cannot get new classes
 */
export async function prepareRun(
  { opened, data }: Prepared,
  { fineTuning = untouched, seed }: Settings,
  tell: (message: string) => void,
): Promise<Prepared> {
  const { classes, train, lora = {} } = fineTuning;
  if (!classes && train === "all") return { opened, data: withLabels(data, opened) };
  let model = classes
    ? await replaceHead(opened.original, { classes, seed, onMessage: tell })
    : opened.original;
  let inspection = await inspect(model);
  const trainable = train === "head" ? headPattern({ original: model, inspection }) : undefined;
  if (train === "lora") {
    // A new last layer is trained in full, as PEFT's modules_to_save.
    model = await addAdapters(model, { ...lora, seed, trainHead: classes !== undefined, onMessage: tell });
    inspection = await inspect(model);
  }
  const changed: OpenedModel = {
    ...opened,
    ...{ original: model, inspection, models: { plain: model, som: model }, frozen: train !== "all" },
    ...(trainable && { trainable }),
  };
  return { opened: changed, data: withLabels(data, changed) };
}

/** The parameters of the last layer, by their names. */
function headPattern(opened: Pick<OpenedModel, "original" | "inspection">): RegExp {
  const { weight, bias } = headOf(opened);
  const names = [weight, bias].flatMap((parameter) => (parameter ? [parameter.value.name] : []));
  return new RegExp(`^(?:${names.map((name) => name.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join("|")})$`);
}

/** The data with the labels that the model's classes have. @throws SorthError for a class that the model lacks */
function withLabels(data: OpenedData, opened: OpenedModel): OpenedData {
  const { names } = data;
  if (!names || opened.rescued) return data;
  const classes = conversionOf(opened.original)?.classes;
  if (!classes) {
    const head = headSummary(opened);
    if (typeof head === "string" || names.length <= head.units) return data;
    throw new SorthError(
      `the folders name ${names.length} classes, and the model has ${head.units}: choose new classes`,
    );
  }
  const labels = labelsIn(classes, names);
  if (labels.every((label, i) => label === i) && classes.length === names.length) return data;
  const part = (dataset: OpenedData["train"]) => relabelled(dataset, labels, classes.length);
  return { ...data, train: part(data.train), test: part(data.test) };
}

/**
 * The labels of names among a model's classes.
 * @throws SorthError for names that are no classes
 *
 * @example
 * labelsIn(["cat", "dog", "cow"], ["cow", "cat"]); // [2, 0]
 */
export function labelsIn(classes: readonly string[], names: readonly string[]): number[] {
  const missing = names.filter((name) => !classes.includes(name));
  if (missing.length > 0) {
    const [folders, are] =
      missing.length === 1 ? ["the folder", "is no class"] : ["the folders", "are no classes"];
    throw new SorthError(
      `${folders} ${missing.slice(0, 5).join(", ")} ${are} of the model, which has ${classes.slice(0, 10).join(", ")}${classes.length > 10 ? " …" : ""}: name the classes as the folders, or choose new classes`,
    );
  }
  return names.map((name) => classes.indexOf(name));
}
