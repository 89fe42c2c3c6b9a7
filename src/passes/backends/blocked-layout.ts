import { int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import type { Value } from "../../graph/node.ts";
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
  const reordered = g.once(`blocks of ${images.at(-1)?.name} as ${shapeText(source.shape)}`, () =>
    g.op("ReorderInput", [source], source.shape, { domain: blockedDomain }),
  );
  return g.reshape(reordered, x.shape);
}

/** x: [N, C, H, W] in blocks, in the plain order. */
export const fromBlocks = (g: Emit, x: Typed): Typed =>
  g.op("ReorderOutput", [x], x.shape, {
    domain: blockedDomain,
    attributes: { channels: int(dimAt(x.shape, 1)) },
  });

/** x, and what it is a Reshape of, as long as those have images of the same size. */
function reshapedImages(x: Typed): [Typed, ...Typed[]] {
  const source: Value | null | undefined = x.producer?.op === "Reshape" ? x.producer.inputs[0] : undefined;
  const images = source?.shape?.length === 4 && sameShape(source.shape.slice(2), x.shape.slice(2));
  return images ? [x, ...reshapedImages(source as Typed)] : [x];
}
