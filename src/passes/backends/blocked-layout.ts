import { int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { dimAt, sameShape, shapeText } from "../../graph/shapes.ts";

/**
 * ONNX Runtime's own domain of operators on tensors whose channels lie in blocks. On x86 it runs convolutions with
 * constant weights there; weights that are being trained are inputs, so it leaves them in the plain layout.
 */
export const blockedDomain = "com.microsoft.nchwc";

/** x: [N, C, H, W], C in whole blocks, in the order [N, C/block, H, W, block]; its shape stays. */
export function toBlocks(g: Emit, x: Typed, block: number): Typed {
  // Samples and blocks of channels are outer axes, so a Reshape that makes channels of samples may come after reordering.
  const images = reshapedImages(x);
  const source = images.findLast(({ shape }) => dimAt(shape, 1) % block === 0) ?? x;
  const reordered = g.once(`blocks of ${images.at(-1)?.name} as ${shapeText(source.shape)}`, () => {
    const last = channelsLastOf(source);
    return g.op("ReorderInput", [last ?? source], source.shape, {
      domain: blockedDomain,
      attributes: last ? { channels_last: int(1) } : {},
    });
  });
  return g.reshape(reordered, x.shape);
}

/** x: [N, C, H, W] in blocks, in the plain order. */
export const fromBlocks = (g: Emit, x: Typed): Typed =>
  g.op("ReorderOutput", [x], x.shape, {
    domain: blockedDomain,
    attributes: { channels: int(dimAt(x.shape, 1)) },
  });

/**
 * Lets nodes that want the channels of a reordered image last, [N, H, W, C], have them from the blocks at once.
 * @param plain - what {@link fromBlocks} returned; nodes read it
 * @returns the Transpose nodes that are no longer needed
 */
export function channelsLastFromBlocks(graph: Graph, g: Emit, plain: Typed): Node[] {
  const reordering = plain.producer;
  if (reordering?.op !== `${blockedDomain}.ReorderOutput`) return [];
  const transposes = [...plain.uses].flatMap(({ node }) => (permutes(node, [0, 2, 3, 1]) ? [node] : []));
  for (const node of transposes) {
    const [channels, ...space] = plain.shape.slice(1) as [number, ...number[]];
    const last = g.once(`${plain.name} with its channels last`, () =>
      g.op("ReorderOutput", reordering.inputs, [dimAt(plain.shape, 0), ...space, channels], {
        domain: blockedDomain,
        attributes: { channels: int(channels), channels_last: int(1) },
      }),
    );
    graph.replaceUses(node.outputs[0] as Value, last, { outputs: true });
  }
  return transposes;
}

/** [N, H, W, C], if x is a Transpose of that. */
const channelsLastOf = ({ producer }: Typed): Value | null | undefined =>
  producer && permutes(producer, [0, 3, 1, 2]) ? producer.inputs[0] : undefined;

/** Whether a node is a Transpose to this order of axes. */
export const permutes = (node: Node, order: readonly number[]): boolean =>
  node.op === "Transpose" && sameShape(node.ints("perm") ?? [], order);

/** x, and what it is a Reshape of, as long as those have images of the same size. */
function reshapedImages(x: Typed): [Typed, ...Typed[]] {
  const source: Value | null | undefined = x.producer?.op === "Reshape" ? x.producer.inputs[0] : undefined;
  const images = source?.shape?.length === 4 && sameShape(source.shape.slice(2), x.shape.slice(2));
  return images ? [x, ...reshapedImages(source as Typed)] : [x];
}
