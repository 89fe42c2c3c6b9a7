import type { DimensionOptions } from "../analysis/dimensions.ts";
import { inferShapes } from "../analysis/infer.ts";
import type { Probe } from "../analysis/probe.ts";
import { probeOutputs } from "../analysis/probe-model.ts";
import { messageOf, SorthError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { nodeToProto } from "../graph/proto.ts";
import { encodeNodeProto } from "../onnx/codec.ts";
import { equalBytes } from "../onnx/wire.ts";
import type { BuiltBlock } from "./build-block.ts";
import type { InjectOptions } from "./options.ts";

/**
 * Infers shapes with sizes at which a block can be built: a free dimension of length 1 would look as if it were always 1, and
 * a window longer than its input leaves no response.
 */
export async function inferForBlock(
  graph: Graph,
  probe: Probe,
  options: DimensionOptions,
): Promise<{ readonly others: readonly DimensionOptions[]; readonly sizes: DimensionOptions }> {
  const { others } = await inferShapes(graph, probe, options);
  const [sizes] = others;
  const one = options.batch === 1 || Object.values(options.dims ?? {}).includes(1);
  const empty = [...graph.values].some(({ producer, shape }) => producer && shape?.includes(0));
  if (!(one || empty) || !sizes) return { others, sizes: options };
  return { others: (await inferShapes(graph, probe, sizes)).others, sizes };
}

/** Loads the model with its block in ONNX Runtime, with the probed batch. @throws SorthError if that fails */
export async function checkLoads(
  graph: Graph,
  shapes: ReadonlyMap<Value, readonly number[]>,
  { outputs, gradients }: BuiltBlock,
  probe: Probe,
): Promise<void> {
  try {
    await probeOutputs(graph, probe, shapes, { values: [...outputs, ...gradients.values()] });
  } catch (error) {
    throw new SorthError(`the penalty does not fit the model: ${messageOf(error)}`);
  }
}

/** A block, and the means to build it again. */
interface RebuildableBlock {
  readonly block: BuiltBlock;
  /** Other sizes of the model's free dimensions with which its shapes are known. */
  readonly others: readonly DimensionOptions[];
  /** Makes a new graph of the model. */
  readonly graphOf: () => Graph | Promise<Graph>;
  readonly rebuild: (graph: Graph, options: InjectOptions) => BuiltBlock;
}

/**
 * Builds the block again with other sizes of the free dimensions and checks that it is the same.
 * @throws SorthError if a penalty wrote such a size into it
 */
export async function checkFreeSizes(
  { block, others, graphOf, rebuild }: RebuildableBlock,
  options: InjectOptions,
  probe: Probe,
): Promise<void> {
  const { onMessage: _, ...silent } = options;
  for (const sizes of others) {
    const graph = await graphOf();
    await inferShapes(graph, probe, { ...silent, ...sizes });
    const different = firstDifference(block, rebuild(graph, { ...silent, ...sizes }));
    if (different === undefined) continue;
    throw new SorthError(
      `a penalty wrote a length into its nodes ("${different}") that the model leaves free: leave that layer or penalty out, or export the model with fixed lengths; a penalty of your own uses Reshape's codes (reshapeAs)`,
    );
  }
}

/** The first node in which two blocks differ. */
function firstDifference(block: BuiltBlock, other: BuiltBlock): string | undefined {
  const count = Math.max(block.nodes.length, other.nodes.length);
  for (let i = 0; i < count; i++) {
    const [node, again] = [block.nodes[i], other.nodes[i]];
    if (!equalBytes(encoded(node), encoded(again))) return (node ?? again)?.label ?? "";
  }
  return undefined;
}

const encoded = (node: Node | undefined): Uint8Array =>
  node ? encodeNodeProto(nodeToProto(node)) : new Uint8Array();
