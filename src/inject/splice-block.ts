import { markKey, type NamedNode } from "../analysis/block-nodes.ts";
import { base64 } from "../block/base64.ts";
import { type Mark, markText } from "../block/mark.ts";
import { renameInNode } from "../block/rename-record.ts";
import { Value } from "../graph/node.ts";
import { inputRecord, metadataRecord, nodeRecord, outputRecord } from "../graph/records.ts";
import { type ModelLayout, splice } from "../onnx/splice.ts";
import type { Chunk } from "../onnx/stored.ts";
import { bytesField, type FieldRecord, graphFields } from "../onnx/wire.ts";
import type { BuiltBlock } from "./build-block.ts";

/**
 * A model's file with a block's records in it: nodes, inputs and outputs at the end of the graph, the mark at the end of the
 * model. Nodes that refer to a renamed loss are replaced in place, and the mark keeps their originals.
 * @param own - the model's nodes, in file order, with the names in the file
 */
export function spliceBlock(layout: ModelLayout, own: readonly NamedNode[], block: BuiltBlock): Chunk[] {
  const { bytes } = layout;
  const records = layout.graph.filter(({ field }) => field === graphFields.node);
  const replace = new Map<FieldRecord, Uint8Array>();
  const replaced: string[] = [];
  const { loss } = block.mark;
  own.forEach((node, index) => {
    const record = records[index];
    if (!record || !loss || ![...node.inputs, ...node.outputs].includes(loss.name)) return;
    replaced.push(base64.encode(bytes.subarray(record.start, record.end)));
    const payload = bytes.subarray(record.payload, record.end);
    replace.set(record, bytesField(graphFields.node, renameInNode(payload, loss.name, loss.original)));
  });
  const mark: Mark = {
    ...block.mark,
    file: { graphLengthWidth: layout.graphLengthWidth, ...(replaced.length > 0 && { replaced }) },
  };
  return splice(layout, {
    replace,
    appendToGraph: [
      ...block.nodes.map(nodeRecord),
      ...block.inputs.map(freeInput),
      ...block.outputs.map(outputRecord),
    ],
    appendToModel: [metadataRecord(markKey, markText(mark))],
  });
}

/** The record of an input whose free dimensions stay free, whatever size they were probed with. */
function freeInput(input: Value): Uint8Array {
  const declared = new Value(input.name, input.type);
  declared.declared = input.declared;
  return inputRecord(declared);
}
