import { SorthError } from "../errors.ts";
import {
  decodeMetadataEntry,
  decodeNodeProto,
  decodeTensorProto,
  decodeValueInfoProto,
} from "../onnx/codec.ts";
import { Model } from "../onnx/model.ts";
import { layoutOf, type ModelLayout, splice } from "../onnx/splice.ts";
import {
  bytesField,
  equalBytes,
  type FieldRecord,
  fieldRecords,
  graphFields,
  modelFields,
} from "../onnx/wire.ts";
import { base64 } from "./base64.ts";
import { addedOutputs, isBlockNode } from "./block.ts";
import {
  blockPrefix,
  type Mark,
  markKey,
  originalPrefix,
  parseMark,
  penaltyOutput,
  type RenamedValue,
  renamedValues,
} from "./mark.ts";
import { renameInNode } from "./rename-record.ts";

/**
 * Takes an injected block out again. The bytes are those of the model before inject, whatever encoder wrote it; if a tool
 * rewrote the file or changed weights since, only the block goes.
 * @throws SorthError when the model has no block
 *
 * @example
 * await writeModel(strip(await readModel("cnn-som.onnx")), "cnn.onnx");
 */
export function strip(model: Model): Model {
  const layout = layoutOf(model.bytes);
  const marks = layout.model.filter((record) => isMark(layout, record));
  const [last] = marks.slice(-1);
  const mark = last && parseMark(decodeMetadataEntry(payloadOf(layout, last)).value ?? "");
  const replace = new Map<FieldRecord, Uint8Array | null>(marks.map((record) => [record, null]));
  for (const record of layout.graph) {
    if (isAdded(layout, record, mark)) replace.set(record, null);
  }
  if (replace.size === 0) throw new SorthError("nothing to strip: no penalty was injected into this model");
  restoreNames(layout, mark, replace);
  const width = mark?.file.graphLengthWidth;
  return Model.spliced(
    splice(layout, { replace, ...(width !== undefined && { graphLengthWidth: width }) }),
    model,
  );
}

const payloadOf = ({ bytes }: ModelLayout, { payload, end }: FieldRecord): Uint8Array =>
  bytes.subarray(payload, end);

function isMark(layout: ModelLayout, record: FieldRecord): boolean {
  return (
    record.field === modelFields.metadataProps &&
    decodeMetadataEntry(payloadOf(layout, record)).key === markKey
  );
}

/** Whether a record of the graph belongs to the block, or was derived from it by a tool (initializers, value infos). */
function isAdded(layout: ModelLayout, record: FieldRecord, mark: Mark | undefined): boolean {
  const payload = () => payloadOf(layout, record);
  const ofBlock = (name: string) => name.startsWith(blockPrefix);
  switch (record.field) {
    case graphFields.node: {
      const { name, output } = decodeNodeProto(payload());
      return isBlockNode(name, output);
    }
    case graphFields.initializer:
      return ofBlock(decodeTensorProto(payload()).name);
    case graphFields.valueInfo: {
      const { name } = decodeValueInfoProto(payload());
      return ofBlock(name) || (mark ? addedOutputs(mark) : new Set([penaltyOutput])).has(name);
    }
    case graphFields.output: {
      const { name } = decodeValueInfoProto(payload());
      return ofBlock(name) || (mark ? addedOutputs(mark) : new Set([penaltyOutput])).has(name);
    }
    case graphFields.input: {
      const { name } = decodeValueInfoProto(payload());
      return ofBlock(name) || name === mark?.objective?.labels;
    }
    default:
      return false;
  }
}

/** Gives the model's own values their names back: by the kept records where they fit, else by renaming. */
function restoreNames(
  layout: ModelLayout,
  mark: Mark | undefined,
  replace: Map<FieldRecord, Uint8Array | null>,
): void {
  const kept = (mark?.file.replaced ?? []).map(base64.decode);
  const known = mark ? renamedValues(mark) : [];
  for (const record of layout.graph) {
    if (record.field !== graphFields.node || replace.has(record)) continue;
    const message = payloadOf(layout, record);
    const renames = renamedInNode(message).map(
      (original): RenamedValue =>
        known.find((one) => one.original === original) ?? {
          ...{ name: original.slice(originalPrefix.length), original },
        },
    );
    if (renames.length === 0) continue;
    const rename = (from: Uint8Array, direction: "forth" | "back") =>
      renames.reduce(
        (bytes, { name, original }) =>
          direction === "forth" ? renameInNode(bytes, name, original) : renameInNode(bytes, original, name),
        from,
      );
    const before = kept.find((whole) => equalBytes(rename(messageOf(whole), "forth"), message));
    replace.set(record, before ?? bytesField(graphFields.node, rename(message, "back")));
  }
}

/** The message in a whole record. */
function messageOf(record: Uint8Array): Uint8Array {
  const [field] = fieldRecords(record);
  return field ? record.subarray(field.payload, field.end) : new Uint8Array();
}

/** The model's own values that a node reads or computes under another name. */
function renamedInNode(message: Uint8Array): string[] {
  const { input, output } = decodeNodeProto(message);
  return [...new Set([...input, ...output].filter((name) => name.startsWith(originalPrefix)))];
}
