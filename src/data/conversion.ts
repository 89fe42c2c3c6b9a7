import { checkFields } from "../check-arguments.ts";
import { FileError } from "../errors.ts";
import { parsedJson } from "../json.ts";
import type { ObjectiveOptions } from "../losses/objective.ts";
import { checkModel } from "../onnx/check-model.ts";
import { decodeMetadataEntry, encodeMetadataEntry } from "../onnx/codec.ts";
import { Model } from "../onnx/model.ts";
import { splice } from "../onnx/splice.ts";
import { bytesField, type FieldRecord, modelFields } from "../onnx/wire.ts";
import type { Normalization } from "./normalize.ts";
import type { ColumnConversion, Missing, TableConversion, TableInput } from "./tables/conversion.ts";
import type { TextConversion } from "./text/conversion.ts";

export type { ColumnConversion, Missing, TableConversion, TableInput };

/** How images become samples. */
export interface ImageConversion {
  /** Shape of one sample, as the model declares it: [channels, height, width] or [height, width, channels]. */
  readonly shape: readonly number[];
  readonly channelsLast: boolean;
  /** `crop`: the largest centred part of the model's proportions, resized; `stretch`: the whole image, resized. */
  readonly fit: "crop" | "stretch";
}

/**
 * What data a model was trained on, and how they were converted into its inputs. `train` writes it into the model's
 * `metadata_props` (key `sorth.data`) and into run.json; whoever evaluates the model or predicts with it gives it to
 * `loadData` and converts other data in the same way.
 *
 * @example
 * const model = await readModel("trained.onnx");
 * const conversion = conversionOf(model);
 * const { train } = await loadData("new.csv", { model, conversion });
 * const feeds = await sampleFeeds(model, train, 100, { normalize: conversion?.normalize ?? "none" });
 * const name = (label: number) => conversion?.classes?.[label] ?? `${label}`;
 */
export interface DataConversion {
  readonly version: 1;
  /** One line for the user: number, type and shape of the samples, their conversion, classes and their balance. */
  readonly summary?: string;
  /** Scaling of pixels and other numbers, done when a batch is fed. */
  readonly normalize?: Normalization;
  /** Names of the classes by label. */
  readonly classes?: readonly string[];
  readonly table?: TableConversion;
  readonly images?: ImageConversion;
  readonly text?: TextConversion;
  /**
   * The loss that the model was trained with, and the value that it read if one was named. Absent for losses of the user's own
   * and beside a teacher.
   */
  readonly objective?: {
    readonly name: string;
    readonly options: ObjectiveOptions;
    readonly output?: string;
    /** The losses of a weighted sum, each as a checkpoint keeps it. */
    readonly terms?: readonly object[];
  };
  /** The model's own output that was its loss (`--loss`), in place of an objective. */
  readonly loss?: string;
  /** The name of a loss of the user's own, which the record cannot hold. */
  readonly ownLoss?: string;
}

/** Key of a trained model's `metadata_props` that holds the conversion of its data. */
export const conversionKey = "sorth.data";

/** The conversion as one line of JSON. */
export const conversionToText = (conversion: DataConversion): string => JSON.stringify(conversion);

/**
 * Reads what {@link conversionToText} wrote.
 * @param where - the file, for messages
 * @throws SorthError for a damaged text, or one of a newer version
 */
export function conversionFromText(text: string, where: string): DataConversion {
  const found = parsedJson(text) as Partial<DataConversion> | null;
  if (typeof found?.version !== "number") {
    throw new FileError(`${where}: the record of the training data (${conversionKey}) is damaged`);
  }
  if (found.version !== 1) {
    throw new FileError(`${where}: a newer version of sorth-onnx wrote the record of the training data`);
  }
  return found as DataConversion;
}

/** The conversion of the data that a model was trained on; undefined if the model does not say. @throws SorthError where it is damaged */
export function conversionOf(model: Model): DataConversion | undefined {
  checkModel(model);
  const { proto, path = "the model" } = model;
  const entry = proto.metadataProps?.find(({ key }) => key === conversionKey);
  return entry && conversionFromText(entry.value ?? "", path);
}

/** The model with a record of its data, instead of an older one. All other bytes stay. */
export function withConversion(model: Model, conversion: DataConversion): Model {
  checkFields("a conversion is what conversionOf or loadData gives", conversion, "version");
  return withRecords(model, [
    bytesField(modelFields.metadataProps, encodeMetadataEntry(conversionKey, conversionToText(conversion))),
  ]);
}

/** A model without such a record. */
export const withoutConversion = (model: Model): Model => withRecords(model, []);

function withRecords(model: Model, appendToModel: readonly Uint8Array[]): Model {
  checkModel(model);
  const { layout } = model;
  const isRecord = ({ field, payload, end }: FieldRecord) =>
    field === modelFields.metadataProps &&
    decodeMetadataEntry(layout.bytes.subarray(payload, end)).key === conversionKey;
  const replace = new Map(layout.model.filter(isRecord).map((old) => [old, null] as const));
  return Model.spliced(splice(layout, { replace, appendToModel }), model);
}
