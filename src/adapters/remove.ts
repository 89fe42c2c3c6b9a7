import { adaptersKey } from "../analysis/adapter-names.ts";
import { base64 } from "../block/base64.ts";
import { renameInNode } from "../block/rename-record.ts";
import {
  decodeMetadataEntry,
  decodeNodeProto,
  decodeTensorProto,
  decodeValueInfoProto,
} from "../onnx/codec.ts";
import { Model } from "../onnx/model.ts";
import { payloadOf, splice } from "../onnx/splice.ts";
import {
  bytesField,
  equalBytes,
  type FieldRecord,
  fieldRecords,
  graphFields,
  modelFields,
} from "../onnx/wire.ts";
import { damagedMark, type Mark, type MarkedLayer, renamedBy } from "./mark.ts";

/**
 * Takes the adapters out of a model's file. The result has the bytes of the model before `addAdapters`, whatever encoder wrote
 * it; weights that were changed since stay changed.
 * @throws SorthError if a node of the mark is missing
 */
export function removeAdapters(model: Model, mark: Mark): Model {
  const { layout } = model;
  const replace = new Map<FieldRecord, Uint8Array | null>();
  const values = new Set(mark.values);
  const added = new Set([...mark.parameters, ...mark.constants]);
  // The place of the layer whose node computes or reads a value that is not there without the adapter.
  const changed = new Map(
    mark.layers.flatMap((layer, i) =>
      Object.values(renamedBy(layer)).map((present) => [present, i] as const),
    ),
  );
  const isOwn = (name: string) => added.has(name) || changed.has(name) || isInner(name, values, mark);
  for (const record of layout.graph) {
    if (record.field === graphFields.initializer) {
      if (added.has(decodeTensorProto(payloadOf(layout, record)).name)) replace.set(record, null);
    } else if (record.field === graphFields.node) {
      const { input, output } = decodeNodeProto(payloadOf(layout, record));
      if (output.length > 0 && output.every((name) => values.has(name))) {
        replace.set(record, null);
        continue;
      }
      const found = [...output, ...input].find((name) => changed.has(name));
      if (found === undefined) continue;
      const i = changed.get(found) ?? 0;
      const names = Object.entries(renamedBy(mark.layers[i] as MarkedLayer));
      replace.set(record, original(payloadOf(layout, record), mark.file.replaced[i], names));
      for (const [, present] of names) changed.delete(present);
    } else if (record.field === graphFields.valueInfo || record.field === graphFields.input) {
      const { name } = decodeValueInfoProto(payloadOf(layout, record));
      if (isOwn(name)) replace.set(record, null);
    }
  }
  const [missing] = changed.keys();
  if (missing !== undefined) throw damagedMark(`no node computes or reads "${missing}"`);
  for (const record of layout.model) {
    if (record.field !== modelFields.metadataProps) continue;
    if (decodeMetadataEntry(payloadOf(layout, record)).key === adaptersKey) replace.set(record, null);
  }
  const { graphLengthWidth } = mark.file;
  return Model.spliced(splice(layout, { replace, graphLengthWidth }), model);
}

/** Whether a value is an adapter's and not the result of a layer. */
const isInner = (name: string, values: ReadonlySet<string>, { layers }: Mark): boolean =>
  values.has(name) && !layers.some(({ response, reads }) => response === name && !reads);

/** The record of a layer's node as it was: the kept one if it fits, else the present one with its values' own names. */
function original(
  message: Uint8Array,
  kept: string | undefined,
  names: readonly (readonly [own: string, present: string])[],
): Uint8Array {
  const record = kept === undefined ? undefined : base64.decode(kept);
  const [field] = record ? fieldRecords(record) : [];
  if (record && field) {
    const payload = record.subarray(field.payload, field.end);
    const renamed = names.reduce((bytes, [own, present]) => renameInNode(bytes, own, present), payload);
    if (equalBytes(renamed, message)) return record;
  }
  const own = names.reduce((bytes, [own, present]) => renameInNode(bytes, present, own), message);
  return bytesField(graphFields.node, own);
}
