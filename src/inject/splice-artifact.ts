import { blockPrefix, markKey, originalPrefix } from "../analysis/block-nodes.ts";
import type { TrainingModel } from "../artifacts/training-model.ts";
import { base64 } from "../block/base64.ts";
import { type Mark, markText, type RenamedValue, renamedValues } from "../block/mark.ts";
import { renameInNode } from "../block/rename-record.ts";
import { SorthError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { ancestorsOf } from "../graph/reach.ts";
import { metadataRecord, nodeRecord, outputRecord } from "../graph/records.ts";
import { type ModelLayout, splice } from "../onnx/splice.ts";
import type { Chunk } from "../onnx/stored.ts";
import { bytesField, concatBytes, type FieldRecord, graphFields } from "../onnx/wire.ts";
import type { BuiltBlock } from "./build-block.ts";

/**
 * A training model's file with a block's records in it, nodes in topological order. The nodes for the penalty's part of a
 * gradient follow directly after the node that computes the model's part; the others are at the end. The sum takes the
 * gradient's name, so that readers need no change.
 * @param forward - the graph in which the block was built: the forward part of `training`
 */
export function spliceArtifactBlock(
  layout: ModelLayout,
  training: TrainingModel,
  forward: Graph,
  block: BuiltBlock,
): Chunk[] {
  const { bytes } = layout;
  const { graph } = training;
  const records = layout.graph.filter(({ field }) => field === graphFields.node);
  const position = new Map(graph.nodes.map((node, index) => [node, index]));
  const sums = [...block.gradients]
    .map(([value, slope]) => {
      const gradient = gradientOf(training, value);
      const at = gradient.producer && position.get(gradient.producer);
      if (at === undefined) throw new SorthError(`the gradient of "${value.name}" is lost`);
      return { slope, gradient, at };
    })
    .sort((a, b) => a.at - b.at);
  checkOrder(graph, block);

  const gradients: RenamedValue[] = [];
  const behind = new Map<number, Node[]>();
  const left = new Set(block.nodes);
  for (const { slope, gradient, at } of sums) {
    const renamed = { name: gradient.name, original: `${originalPrefix}${gradient.name}` };
    gradients.push(renamed);
    const sum = forward.addNode({
      ...{ opType: "Add", name: `${blockPrefix}${gradient.name}`, outputs: [gradient.name] },
      inputs: [forward.reference(renamed.original), slope],
    });
    const needed = ancestorsOf([slope]);
    const own = block.nodes.filter((node) => left.has(node) && needed.has(node));
    for (const node of own) left.delete(node);
    behind.set(at, [...(behind.get(at) ?? []), ...own, sum]);
  }

  const mark: Omit<Mark, "file"> = { ...block.mark, ...(gradients.length > 0 && { gradients }) };
  const renames = renamedValues(mark);
  const replace = new Map<FieldRecord, Uint8Array>();
  const replaced: string[] = [];
  graph.nodes.forEach((node, index) => {
    const record = records[index];
    if (!record) return;
    const own = renames.filter(({ name }) => isRenamedIn(node, name, name === mark.loss?.name));
    const whole = bytes.subarray(record.start, record.end);
    const payload = bytes.subarray(record.payload, record.end);
    const renamed = own.reduce(
      (message, { name, original }) => renameInNode(message, name, original),
      payload,
    );
    if (own.length > 0) replaced.push(base64.encode(whole));
    const after = behind.get(index) ?? [];
    if (own.length === 0 && after.length === 0) return;
    const kept = own.length > 0 ? bytesField(graphFields.node, renamed) : whole;
    replace.set(record, concatBytes([kept, ...after.map(nodeRecord)]));
  });
  const written = { ...mark, file: { graphLengthWidth: layout.graphLengthWidth, replaced } };
  const last = block.nodes.filter((node) => left.has(node));
  return splice(layout, {
    replace,
    appendToGraph: [...last.map(nodeRecord), ...block.outputs.map(outputRecord)],
    appendToModel: [metadataRecord(markKey, markText(written))],
  });
}

/** The gradient of a response or parameter in a training model. */
function gradientOf(training: TrainingModel, { name }: Value): Value {
  const value = training.graph.valueNamed(name);
  const parameter = training.parameters.find((one) => one.value === value);
  const gradient = parameter?.gradient ?? training.gradientOf(value);
  if (!gradient) throw new SorthError(`the gradient of "${name}" is lost`);
  return gradient;
}

/** Whether a node needs a renamed value: the loss in every node, a gradient only where it is computed, so that its readers get the sum. */
function isRenamedIn(node: Node, name: string, everywhere: boolean): boolean {
  const named = (value: Value | null) => value?.name === name;
  return node.outputs.some(named) || (everywhere && node.inputs.some(named));
}

/** @throws SorthError if the gradient of a layer comes before the layer, because the file's nodes are not sorted */
function checkOrder(graph: Graph, { gradients }: BuiltBlock): void {
  const position = new Map(graph.nodes.map((node, index) => [node, index]));
  for (const { name } of gradients.keys()) {
    const layer = graph.value(name)?.producer;
    const gradient = graph.value(`${name}_grad`)?.producer;
    if (!layer || !gradient || (position.get(layer) ?? 0) <= (position.get(gradient) ?? 0)) continue;
    throw new SorthError(
      `the nodes of the training model are in no topological order ("${gradient.label}" stands before "${layer.label}"); load and save it once with another tool`,
    );
  }
}
