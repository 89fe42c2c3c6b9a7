import { batchNormKey } from "../analysis/batch-norm-form.ts";
import { FileError } from "../errors.ts";
import { parsedJson } from "../json.ts";
import { decodeMetadataEntry } from "../onnx/codec.ts";
import { type ModelLayout, payloadOf } from "../onnx/splice.ts";
import { type FieldRecord, modelFields } from "../onnx/wire.ts";

/** Names of a BatchNormalization's own tensors, `[units]` each. */
export interface BatchNormNames {
  readonly scale: string;
  readonly bias: string;
  readonly mean: string;
  readonly variance: string;
}

/** A layer with a recovered BatchNormalization. Everything else is read from the graph. */
export interface RecoveredLayer extends BatchNormNames {
  /** The layer's response as the file names it; the BatchNormalization computes it now. */
  readonly response: string;
  /** What the layer itself computes now: the response before it is normalized. */
  readonly unnormalized: string;
  readonly weight: string;
  /** The axis of the stored weight that counts the units, within a group for ConvTranspose. */
  readonly axis: number;
  /** A ConvTranspose's groups, whose units lie one behind the other; 1 for all other operators. */
  readonly groups: number;
  /** The name under which the layer read its bias; absent if it had none. */
  readonly biasInput?: string;
  /** The bias that the layer gets when it is folded: its own one, or a new one where it had none or shared it. */
  readonly biasOfLayer: { readonly name: string; readonly dims: readonly number[] };
  /** Factors of a Gemm, 1 for all other operators: response = alpha·(x·weight) + beta·bias. */
  readonly beta: number;
  /** The Add that added the bias, as base64 of its record; absent for a layer that adds it itself. */
  readonly add?: string;
}

/** What the mark says. */
export interface BatchNormMark {
  readonly version: 1;
  /** How many bytes encoded the graph's length before. */
  readonly graphLengthWidth: number;
  readonly layers: readonly RecoveredLayer[];
}

/** The record of the mark and what it says; undefined in a model without recovered BatchNormalization. */
export function markIn(layout: ModelLayout): { record: FieldRecord; mark: BatchNormMark } | undefined {
  for (const record of layout.model) {
    if (record.field !== modelFields.metadataProps) continue;
    const { key, value } = decodeMetadataEntry(payloadOf(layout, record));
    if (key === batchNormKey) return { record, mark: parsed(value ?? "") };
  }
  return undefined;
}

function parsed(text: string): BatchNormMark {
  const found = parsedJson(text) as Partial<BatchNormMark> | null;
  if (found?.version === 1 && Array.isArray(found.layers)) return found as BatchNormMark;
  const newer = typeof found?.version === "number" && found.version > 1;
  throw damagedMark(newer ? "a newer version of sorth-onnx wrote it" : "it cannot be read");
}

/** The error for a mark that does not fit its model. */
export const damagedMark = (reason: string): FileError =>
  new FileError(
    `the record of the recovered BatchNorm (${batchNormKey}) is of no use: ${reason}; begin again with the model as it was exported`,
  );
