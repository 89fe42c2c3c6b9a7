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
import { blockPrefix, type Mark, markKey, originalPrefix, parseMark, penaltyOutput } from "./mark.ts";
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
  restoreLoss(layout, mark, replace);
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

/** Gives the model's own loss its name back: by the kept records where they fit, else by renaming. */
function restoreLoss(
  layout: ModelLayout,
  mark: Mark | undefined,
  replace: Map<FieldRecord, Uint8Array | null>,
): void {
  const kept = (mark?.file.replaced ?? []).map(base64.decode);
  for (const record of layout.graph) {
    if (record.field !== graphFields.node || replace.has(record)) continue;
    const message = payloadOf(layout, record);
    const original = namedInNode(message);
    if (original === undefined) continue;
    const loss = mark?.loss ?? { name: original.slice(originalPrefix.length), original };
    const before = kept.find((whole) =>
      equalBytes(renameInNode(messageOf(whole), loss.name, loss.original), message),
    );
    replace.set(
      record,
      before ?? bytesField(graphFields.node, renameInNode(message, loss.original, loss.name)),
    );
  }
}

/** The message in a whole record. */
function messageOf(record: Uint8Array): Uint8Array {
  const [field] = fieldRecords(record);
  return field ? record.subarray(field.payload, field.end) : new Uint8Array();
}

/** The model's own loss under its other name, if a node reads or computes it. */
function namedInNode(message: Uint8Array): string | undefined {
  const { input, output } = decodeNodeProto(message);
  return [...input, ...output].find((name) => name.startsWith(originalPrefix));
}
