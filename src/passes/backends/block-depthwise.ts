import { int, ints } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Node } from "../../graph/node.ts";
import { dimAt, type Shape } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { mostNumbersInBlocks } from "../layout/depthwise.ts";
import { blockedDomain, fromBlocks, toBlocks } from "./blocked-layout.ts";

/*
 * Depthwise convolutions: each channel has its own kernel. In the plain layout ONNX Runtime runs a matrix product of one
 * row per channel and sample; in blocks, each vector instruction serves as many channels as a block has.
 * docs/decisions.md, "Depthwise convolutions in blocks", has the figures.
 */

/** Up to this many points per channel, a convolution of values with zeros between them is faster than ConvTranspose. */
const mostStuffedPoints = 256;

/** A depthwise convolution of x: [N, C, H, W] by w: [C, 1, height, width]. */
interface Depthwise {
  readonly x: Typed;
  readonly w: Typed;
  readonly bias: Typed | undefined;
  readonly y: Typed;
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly pads: readonly number[];
}

/**
 * Computes the output of a depthwise Conv or ConvTranspose in blocks of channels.
 * @returns undefined if the node is something else, or is no faster in blocks
 */
export function depthwiseInBlocks(g: Emit, node: Node, block: number): Typed | undefined {
  const found = depthwise(node);
  if (!found) return undefined;
  return node.opType === "Conv" ? convolution(g, found, block) : transposed(g, node, found, block);
}

/** The parts of a depthwise node on float32 images of a size that gains by blocks. */
function depthwise(node: Node): Depthwise | undefined {
  const [x, w, bias] = node.inputs;
  const [y] = node.outputs;
  if (node.op !== "Conv" && node.op !== "ConvTranspose") return undefined;
  if (x?.type !== "float" || x.shape?.length !== 4 || !w?.shape || !y?.shape) return undefined;
  // ONNX Runtime blocks constant weights itself.
  if (w.initializer || node.string("auto_pad", "NOTSET") !== "NOTSET") return undefined;
  const channels = dimAt(x.shape, 1);
  if (channels < 2 || node.int("group", 1) !== channels) return undefined;
  if (dimAt(w.shape, 0) !== channels || dimAt(w.shape, 1) !== 1) return undefined;
  const numbers = Math.max(elementCount(x.shape), elementCount(y.shape));
  if (numbers === 0 || numbers > mostNumbersInBlocks) return undefined;
  return {
    x: typed(x),
    w: typed(w),
    bias: bias ? typed(bias) : undefined,
    y: typed(y),
    strides: node.ints("strides") ?? [1, 1],
    dilations: node.ints("dilations") ?? [1, 1],
    pads: node.ints("pads") ?? [0, 0, 0, 0],
  };
}

function convolution(g: Emit, { x, w, bias, y, ...windows }: Depthwise, block: number): Typed | undefined {
  const [batch, channels] = x.shape as [number, number];
  // Channels that are no whole blocks: samples become channels, and each gets its own copy of the kernels.
  const copies = channels % block === 0 ? 1 : batch;
  if ((copies * channels) % block !== 0) return undefined;
  const asChannels = ({ shape }: Typed): Shape => [batch / copies, channels * copies, ...shape.slice(2)];
  const images = toBlocks(g, g.reshape(x, asChannels(x)), block);
  const biases = bias && repeat(g, bias, copies);
  const blocked = convolveBlocks(g, images, repeat(g, w, copies), asChannels(y), block, windows, biases);
  return g.reshape(fromBlocks(g, blocked), y.shape);
}

/**
 * A ConvTranspose as the convolution, with reversed kernels, of its input with zeros between the values. They are put
 * there in blocks, as whole vectors.
 */
function transposed(g: Emit, node: Node, found: Depthwise, block: number): Typed | undefined {
  const { x, w, bias, y, strides, dilations, pads } = found;
  const [batch, channels, height, width] = x.shape as [number, number, number, number];
  const [down, right] = strides as [number, number];
  const points = elementCount(y.shape.slice(2));
  if (bias || channels % block !== 0 || points > mostStuffedPoints || node.ints("output_shape"))
    return undefined;
  const kernel = w.shape.slice(2);
  const apart = [height * down, width * right];
  const reach = kernel.map((size, axis) => (size - 1) * dimAt(dilations, axis));
  const before = reach.map((length, axis) => length - dimAt(pads, axis));
  const after = reach.map(
    (length, axis) => dimAt(y.shape, axis + 2) + length - dimAt(apart, axis) - dimAt(before, axis),
  );
  if ([...before, ...after].some((padding) => padding < 0)) return undefined;
  const rows = g.reshape(toBlocks(g, x, block), [((batch * channels) / block) * height, 1, width, block]);
  const spread = g.pad(rows, [0, 0, 0, 0, 0, down - 1, 0, (right - 1) * block]);
  const images = g.reshape(spread, [batch, channels, ...apart]);
  const reversed = g.slice(
    w,
    kernel.flatMap((size, axis) =>
      size === 1 ? [] : [{ axis: axis + 2, start: size - 1, length: size, step: -1 }],
    ),
  );
  const windows = { strides: [1, 1], dilations, pads: [...before, ...after] };
  return fromBlocks(g, convolveBlocks(g, images, reversed, y.shape, block, windows));
}

/** Convolves x: [N, C, H, W] in blocks with w: [C, 1, height, width] in the plain order → y in blocks. */
function convolveBlocks(
  g: Emit,
  x: Typed,
  w: Typed,
  shape: Shape,
  block: number,
  { strides, dilations, pads }: Pick<Depthwise, "strides" | "dilations" | "pads">,
  bias?: Typed,
): Typed {
  const [channels, , ...kernel] = w.shape as [number, number, ...number[]];
  // The order of kernels in blocks is that of an image with as many channels.
  const kernels = toBlocks(g, g.reshape(w, [1, channels, ...kernel]), block);
  return g.op("Conv", [x, g.reshape(kernels, w.shape), ...(bias ? [bias] : [])], shape, {
    domain: blockedDomain,
    attributes: {
      group: int(channels),
      kernel_shape: ints(kernel),
      strides: ints(strides),
      dilations: ints(dilations),
      pads: ints(pads),
    },
  });
}

/** `copies` times [C, …], one after the other. */
function repeat(g: Emit, value: Typed, copies: number): Typed {
  if (copies === 1) return value;
  const [channels, ...rest] = value.shape as [number, ...number[]];
  const expanded = g.expand(g.reshape(value, [1, channels, ...rest]), [copies, channels, ...rest]);
  return g.reshape(expanded, [copies * channels, ...rest]);
}
