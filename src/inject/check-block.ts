import { inferShapes } from "../analysis/infer.ts";
import type { Probe } from "../analysis/probe.ts";
import { probeModel } from "../analysis/probe-model.ts";
import { messageOf, SorthError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { nodeToProto } from "../graph/proto.ts";
import { encodeNodeProto } from "../onnx/codec.ts";
import { equalBytes } from "../onnx/wire.ts";
import type { BuiltBlock } from "./build-block.ts";
import type { InjectOptions } from "./options.ts";

/** Lets ONNX Runtime load the model with its block, at the probed batch. @throws SorthError when it refuses */
export async function checkLoads(
  graph: Graph,
  shapes: ReadonlyMap<Value, readonly number[]>,
  { outputs, gradients }: BuiltBlock,
  probe: Probe,
): Promise<void> {
  try {
    await probe.outputs(probeModel(graph, shapes, { values: [...outputs, ...gradients.values()] }));
  } catch (error) {
    throw new SorthError(`the penalty does not fit the model: ${messageOf(error)}`);
  }
}

/** A block, and how the same one is built again. */
export interface RebuildableBlock {
  readonly block: BuiltBlock;
  /** The batch size that it was built at. */
  readonly batch: number;
  /** The model's graph anew. */
  readonly graphOf: () => Graph;
  readonly rebuild: (graph: Graph, options: InjectOptions) => BuiltBlock;
}

/**
 * Builds the block once more, at another batch: it must be the same.
 * @throws SorthError when a penalty wrote the batch size into it
 */
export async function checkFreeBatch(
  { block, batch, graphOf, rebuild }: RebuildableBlock,
  options: InjectOptions,
  probe: Probe,
): Promise<void> {
  const graph = graphOf();
  const { onMessage: _, ...silent } = options;
  try {
    await inferShapes(graph, probe, { ...silent, batch: 2 * batch });
  } catch {
    // The model itself runs at one batch only; so may its block.
    return;
  }
  const other = rebuild(graph, silent);
  const same =
    other.nodes.length === block.nodes.length &&
    other.nodes.every((node, i) => equalBytes(encoded(node), encoded(block.nodes[i])));
  if (same) return;
  throw new SorthError(
    `a penalty wrote the batch size ${batch} into its nodes, while that of the model is free; let it use Reshape's codes (reshapeAs)`,
  );
}

const encoded = (node: Node | undefined): Uint8Array =>
  node ? encodeNodeProto(nodeToProto(node)) : new Uint8Array();
