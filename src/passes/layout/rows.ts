import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import type { Value } from "../../graph/node.ts";
import { dimAt, type Shape } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";

/**
 * Images of shape [N, C, …space] as rows: a matrix [N·…space, C] with one row for each position of each sample. In memory
 * that is NHWC, so a convolution with a kernel of 1×1 is one product, and sums over channels read one row.
 */
export const rowsShape = (image: Shape): [number, number] => {
  const channels = dimAt(image, 1);
  return [elementCount(image) / channels, channels];
};

/** The shape of the same numbers with the channels last: [N, …space, C]. */
export const channelsLast = ([batch = 0, channels = 0, ...space]: Shape): number[] => [
  batch,
  ...space,
  channels,
];

/** The number of positions of an image. */
export const positionsOf = (image: Shape): number => elementCount(image.slice(2));

/** The permutation from [N, C, …space] to [N, …space, C]. */
export const toChannelsLast = (rank: number): number[] => [
  0,
  ...Array.from({ length: rank - 2 }, (_, axis) => axis + 2),
  1,
];

/** The permutation from [N, …space, C] to [N, C, …space]. */
export const toChannelsFirst = (rank: number): number[] => [
  0,
  rank - 1,
  ...Array.from({ length: rank - 2 }, (_, axis) => axis + 1),
];

/** An image [N, C, …space] as rows. */
export function intoRows(g: Emit, image: Value & { shape: Shape }): Typed {
  const { shape } = image;
  const moved =
    positionsOf(shape) === 1 ? (image as Typed) : g.transpose(image, toChannelsLast(shape.length));
  return g.reshape(moved, rowsShape(shape));
}

/** Rows as an image of the given shape [N, C, …space]. */
export function intoImage(g: Emit, rows: Typed, image: Shape): Typed {
  if (positionsOf(image) === 1) return g.reshape(rows, image);
  return g.transpose(g.reshape(rows, channelsLast(image)), toChannelsFirst(image.length));
}
