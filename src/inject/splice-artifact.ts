import type { TrainingModel } from "../artifacts/training-model.ts";
import { SorthError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { type ModelLayout, splice } from "../onnx/splice.ts";
import { bytesField, concatBytes, type FieldRecord, graphFields } from "../onnx/wire.ts";
import { base64 } from "./base64.ts";
import type { BuiltBlock } from "./build-block.ts";
import { blockPrefix, type Mark, originalPrefix, type RenamedValue, renamedValues } from "./mark.ts";
import { renameInNode } from "./rename-record.ts";
import { markRecord, nodeRecord, outputRecord } from "./splice-block.ts";

/**
 * A training model's file with a block's records in it, nodes in topological order: what computes a layer's penalty and
 * its gradient stands right behind the node that computed the layer's gradient so far; the sums stand at the end.
 * The sum takes over the gradient's name, so that no reader changes.
 * @param forward - the graph that the block was built in: the forward part of `training`
 */
export function spliceArtifactBlock(
  layout: ModelLayout,
  training: TrainingModel,
  forward: Graph,
  block: BuiltBlock,
): Uint8Array[] {
  const { bytes } = layout;
  const { graph } = training;
  const records = layout.graph.filter(({ field }) => field === graphFields.node);
  const placed = placeNodes(block);
  const gradients: RenamedValue[] = [];
  const behind = new Map<Node, Node[]>();
  for (const [response, slope] of block.gradients) {
    const gradient = training.gradientOf(graph.valueNamed(response.name));
    const producer = gradient?.producer;
    if (!gradient || !producer) throw new SorthError(`the gradient of "${response.name}" is lost`);
    const renamed = { name: gradient.name, original: `${originalPrefix}${gradient.name}` };
    gradients.push(renamed);
    const sum = forward.addNode({
      ...{ opType: "Add", name: `${blockPrefix}${gradient.name}`, outputs: [gradient.name] },
      inputs: [forward.reference(renamed.original), slope],
    });
    const nodes = [...(placed.ofResponse.get(response) ?? []), sum];
    behind.set(producer, [...(behind.get(producer) ?? []), ...nodes]);
  }
  checkOrder(graph, block);

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
    const before = index === 0 ? placed.constant : [];
    const after = behind.get(node) ?? [];
    if (own.length === 0 && before.length === 0 && after.length === 0) return;
    const kept = own.length > 0 ? bytesField(graphFields.node, renamed) : whole;
    replace.set(record, concatBytes([...before.map(nodeRecord), kept, ...after.map(nodeRecord)]));
  });
  const written = { ...mark, file: { graphLengthWidth: layout.graphLengthWidth, replaced } };
  return splice(layout, {
    replace,
    appendToGraph: [...placed.last.map(nodeRecord), ...block.outputs.map(outputRecord)],
    appendToModel: [markRecord(written)],
  });
}

/** The loss is renamed wherever a node names it; a gradient where it is computed, so that its readers get the sum. */
function isRenamedIn(node: Node, name: string, everywhere: boolean): boolean {
  const named = (value: Value | null) => value?.name === name;
  return node.outputs.some(named) || (everywhere && node.inputs.some(named));
}

/** The block's nodes by what they depend on: nothing, one response with a gradient, or more. */
function placeNodes({ nodes, gradients }: BuiltBlock): {
  constant: Node[];
  ofResponse: Map<Value, Node[]>;
  last: Node[];
} {
  const own = new Set(nodes);
  const dependsOn = new Map<Node, Value | "nothing" | "more">();
  const result = { constant: [] as Node[], ofResponse: new Map<Value, Node[]>(), last: [] as Node[] };
  for (const node of nodes) {
    const reads = new Set<Value | "more">();
    for (const input of node.inputs) {
      if (!input) continue;
      const producer = input.producer;
      const from = producer && own.has(producer) ? dependsOn.get(producer) : input;
      if (from && from !== "nothing") reads.add(from === "more" || gradients.has(from) ? from : "more");
    }
    const [one] = reads;
    const place = reads.size === 0 ? "nothing" : reads.size === 1 && one ? one : "more";
    dependsOn.set(node, place);
    if (place === "nothing") result.constant.push(node);
    else if (place === "more") result.last.push(node);
    else result.ofResponse.set(place, [...(result.ofResponse.get(place) ?? []), node]);
  }
  return result;
}

/** @throws SorthError when a layer's gradient stands before the layer: the file's nodes are in no order */
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
