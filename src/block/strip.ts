import {
  blockNodes,
  isBlockName,
  isPenaltyOutput,
  markKey,
  type NamedNode,
  originalPrefix,
  penaltyOutput,
  takenOver,
} from "../analysis/block-nodes.ts";
import { SorthError } from "../errors.ts";
import { namesRead } from "../graph/bodies.ts";
import { checkModel } from "../onnx/check-model.ts";
import {
  decodeMetadataEntry,
  decodeNodeProto,
  decodeTensorProto,
  decodeValueInfoProto,
} from "../onnx/codec.ts";
import { Model } from "../onnx/model.ts";
import { type ModelLayout, payloadOf, splice } from "../onnx/splice.ts";
import {
  bytesField,
  equalBytes,
  type FieldRecord,
  fieldRecords,
  graphFields,
  modelFields,
} from "../onnx/wire.ts";
import { base64 } from "./base64.ts";
import { addedOutputs, checkFits } from "./block.ts";
import { damaged, type Mark, parseMark, type RenamedValue, renamedValues } from "./mark.ts";
import { renameInNode } from "./rename-record.ts";
import { damagedTaps, parseTaps, type TapsMark, tapsKey } from "./taps-mark.ts";

/**
 * Removes an injected block, and the outputs that `tap` added. The result has the bytes of the model before inject and tap,
 * whatever encoder wrote it. If a tool has rewritten the file or changed weights since, only the block and those outputs are
 * removed. The model's own parts with names like the block's stay.
 * @throws SorthError if the model has neither, or its mark does not fit it
 *
 * @example
 * await writeModel(strip(await readModel("cnn-som.onnx")), "cnn.onnx");
 */
export function strip(model: Model): Model {
  return withoutAdded(model, { taps: true });
}

/** Removes an injected block alone; the outputs that `tap` added stay. */
export const stripBlock = (model: Model): Model => withoutAdded(model, { taps: false });

function withoutAdded(model: Model, remove: { readonly taps: boolean }): Model {
  checkModel(model);
  const layout = model.layout;
  const block = markIn(layout, markKey, damaged);
  const mark = block && parseMark(block.text);
  const taps = remove.taps ? markIn(layout, tapsKey, damagedTaps) : undefined;
  const tapped = taps && parseTaps(taps.text);
  const marks = [block, taps].filter((one) => one !== undefined);
  const replace = new Map<FieldRecord, Uint8Array | null>(marks.map(({ record }) => [record, null]));
  for (const record of addedRecords(layout, mark)) replace.set(record, null);
  for (const record of tapped ? tapRecords(layout, tapped) : []) replace.set(record, null);
  if (replace.size === 0) {
    throw new SorthError(
      "nothing to strip: no penalty was injected into this model, and no inner value was made an output (tap)",
    );
  }
  restoreNames(layout, mark, replace);
  // The mark that was added first knows how the original encoded the graph's length.
  const first = block && (!taps || block.record.start < taps.record.start) ? mark : (tapped ?? mark);
  const width = first?.file.graphLengthWidth;
  return Model.spliced(
    splice(layout, { replace, ...(width !== undefined && { graphLengthWidth: width }) }),
    model,
  );
}

/** The entry of metadata_props that holds a mark. @throws SorthError if there are several */
function markIn(
  layout: ModelLayout,
  key: string,
  damaged: (reason: string) => SorthError,
): { readonly record: FieldRecord; readonly text: string } | undefined {
  const [found, another] = layout.model.flatMap((record) => {
    if (record.field !== modelFields.metadataProps) return [];
    const entry = decodeMetadataEntry(payloadOf(layout, record));
    return entry.key === key ? [{ record, text: entry.value ?? "" }] : [];
  });
  if (another) throw damaged("there are several");
  return found;
}

/** The declarations of the outputs that `tap` added. @throws SorthError if the model would have no output left */
function tapRecords(layout: ModelLayout, { outputs }: TapsMark): FieldRecord[] {
  const added = new Set(outputs);
  const declared = layout.graph.filter(({ field }) => field === graphFields.output);
  const found = declared.filter((record) =>
    added.has(decodeValueInfoProto(payloadOf(layout, record)).name ?? ""),
  );
  if (found.length === declared.length) throw damagedTaps("it names every output of the model");
  return found;
}

/** A node of a file. */
interface NodeRecord extends NamedNode {
  readonly record: FieldRecord;
}

/** The records of the graph that belong to the block, or that a tool derived from it (initializers, value infos). */
function addedRecords(layout: ModelLayout, mark: Mark | undefined): FieldRecord[] {
  const named = (field: number, nameOf: (message: Uint8Array) => string) =>
    layout.graph.flatMap((record) =>
      record.field === field ? [{ record, name: nameOf(payloadOf(layout, record)) }] : [],
    );
  const infoName = (message: Uint8Array) => decodeValueInfoProto(message).name;
  const initializers = named(graphFields.initializer, (message) => decodeTensorProto(message).name);
  const inputs = named(graphFields.input, infoName);
  const outputs = named(graphFields.output, infoName);
  const infos = named(graphFields.valueInfo, infoName);
  const nodes = layout.graph.flatMap((record): NodeRecord[] => {
    if (record.field !== graphFields.node) return [];
    const node = decodeNodeProto(payloadOf(layout, record));
    return [{ record, name: node.name, inputs: namesRead(node), outputs: node.output }];
  });

  const kept = new Set(mark?.kept ?? []);
  const added = mark ? addedOutputs(mark) : new Set([penaltyOutput]);
  const renamed = mark ? renamedValues(mark).map(({ name }) => name) : [];
  const values = nodes.flatMap((node) => [...node.inputs, ...node.outputs]);
  const block = blockNodes(nodes, {
    outputs: outputs.map(({ name }) => name),
    computed: new Set([...added, ...renamed, ...takenOver(values)]),
    kept,
  });
  const computed = new Set([...block].flatMap((node) => node.outputs));
  const readElsewhere = new Set(nodes.flatMap((node) => (block.has(node) ? [] : node.inputs)));
  if (mark) {
    checkFits(mark, {
      outputs: outputs.map(({ name }) => name),
      isComputed: (name) => computed.has(name),
      isReadElsewhere: (name) => readElsewhere.has(name),
    });
  }
  // Without a mark, only the penalty output shows that this is a block and not a model with similar names.
  if (!mark && !outputs.some(({ name }) => isPenaltyOutput(name) && computed.has(name))) return [];
  // Values with a block's name that no node of the block computes: constants that a tool made from its nodes.
  const isOnlyOfBlock = (name: string) => isBlockName(name) && !kept.has(name) && !readElsewhere.has(name);
  const isAddedOutput = (name: string) => added.has(name) && computed.has(name);
  return [
    ...[...block].map(({ record }) => record),
    ...initializers.flatMap(({ name, record }) => (isOnlyOfBlock(name) ? [record] : [])),
    ...infos.flatMap(({ name, record }) => (isOnlyOfBlock(name) || isAddedOutput(name) ? [record] : [])),
    ...outputs.flatMap(({ name, record }) => (isOnlyOfBlock(name) || isAddedOutput(name) ? [record] : [])),
    ...inputs.flatMap(({ name, record }) =>
      isOnlyOfBlock(name) || name === mark?.objective?.labels ? [record] : [],
    ),
  ];
}

/** Restores the names of the model's own values: from the kept records if they fit, else by renaming. */
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
    const before = kept.find((whole) => equalBytes(rename(nodeMessageOf(whole), "forth"), message));
    replace.set(record, before ?? bytesField(graphFields.node, rename(message, "back")));
  }
}

/** The message in a record of a single node; the record must contain nothing else. */
function nodeMessageOf(record: Uint8Array): Uint8Array {
  const [field, ...others] = fieldRecords(record);
  if (!field || others.length > 0 || field.field !== graphFields.node)
    throw damaged("a kept record is no node");
  return record.subarray(field.payload, field.end);
}

/** The model's own values that a node reads or computes under another name now. */
function renamedInNode(message: Uint8Array): string[] {
  const { input, output } = decodeNodeProto(message);
  return [...new Set([...input, ...output].filter((name) => name.startsWith(originalPrefix)))];
}
