import { int, ints, string } from "../../graph/attribute.ts";
import type { Sample } from "../rule.ts";

/** The samples of Conv. */
export const convolutionSamples: readonly [Sample, ...Sample[]] = [
  {
    inputs: [[2, 3, 5, 4], [4, 3, 3, 3], [4]],
    attributes: { pads: ints([1, 1, 1, 1]) },
    note: "padded, bias",
  },
  {
    inputs: [
      [2, 3, 4, 4],
      [5, 3, 1, 1],
    ],
    note: "1×1",
  },
  {
    inputs: [
      [2, 3, 5, 5],
      [4, 3, 1, 1],
    ],
    attributes: { strides: ints([2, 2]) },
    note: "1×1, stride 2",
  },
  {
    inputs: [
      [2, 3, 6, 7],
      [2, 3, 3, 3],
    ],
    attributes: { strides: ints([2, 3]) },
    note: "rows left over",
  },
  {
    inputs: [
      [1, 2, 6, 6],
      [3, 2, 3, 2],
    ],
    attributes: { strides: ints([2, 1]), pads: ints([1, 0, 2, 1]), kernel_shape: ints([3, 2]) },
    note: "asymmetric padding",
  },
  {
    inputs: [
      [1, 2, 7, 7],
      [2, 2, 3, 3],
    ],
    attributes: { dilations: ints([2, 2]), pads: ints([2, 2, 2, 2]) },
    note: "dilated",
  },
  {
    inputs: [
      [1, 2, 9, 8],
      [2, 2, 3, 2],
    ],
    attributes: { dilations: ints([2, 3]), strides: ints([2, 2]), pads: ints([0, 1, 0, 1]) },
    note: "dilated and strided",
  },
  {
    inputs: [[2, 4, 4, 4], [6, 2, 3, 3], [6]],
    attributes: { group: int(2), pads: ints([1, 1, 1, 1]) },
    note: "grouped",
  },
  {
    inputs: [
      [2, 4, 3, 3],
      [6, 2, 1, 1],
    ],
    attributes: { group: int(2) },
    note: "grouped 1×1",
  },
  {
    inputs: [
      [1, 36, 3, 3],
      [4, 18, 2, 2],
    ],
    attributes: { group: int(2) },
    note: "grouped, many channels",
  },
  {
    inputs: [
      [2, 8, 12, 12],
      [2, 8, 3, 3],
    ],
    attributes: { pads: ints([1, 1, 1, 1]) },
    note: "large image",
  },
  {
    inputs: [
      [2, 6, 3, 3],
      [8, 6, 3, 3],
    ],
    attributes: { pads: ints([1, 1, 1, 1]) },
    note: "small image",
  },
  {
    inputs: [
      [3, 9, 2, 2],
      [8, 9, 1, 1],
    ],
    note: "small image, 1×1",
  },
  {
    inputs: [
      [2, 5, 7, 6],
      [4, 5, 2, 3],
    ],
    attributes: { strides: ints([2, 1]), dilations: ints([1, 2]), pads: ints([1, 0, 0, 1]) },
    note: "more channels, strided and dilated",
  },
  {
    inputs: [
      [1, 5, 34, 34],
      [6, 5, 2, 2],
    ],
    note: "more than 1,024 points",
  },
  {
    inputs: [
      [2, 5, 33, 31],
      // Small, so that the gradient of the kernel counts as much as that of the image.
      { shape: [2, 5, 3, 2], range: [-0.1, 0.1] },
    ],
    attributes: { dilations: ints([2, 1]), pads: ints([1, 0, 3, 2]) },
    note: "more than 1,024 points, fewer channels",
  },
  {
    inputs: [[3, 2, 9, 8], [3, 2, 5, 4], [3]],
    attributes: { strides: ints([2, 3]), dilations: ints([1, 2]), pads: ints([2, 0, 1, 1]) },
    note: "large kernel, few channels",
  },
  {
    inputs: [
      [2, 4, 7, 7],
      [4, 2, 4, 4],
    ],
    attributes: { group: int(2), strides: ints([2, 2]), pads: ints([1, 1, 1, 1]) },
    note: "large kernel, few channels, grouped",
  },
  {
    inputs: [
      [2, 1, 6, 7],
      [3, 1, 3, 2],
    ],
    attributes: { strides: ints([2, 1]), pads: ints([0, 1, 1, 0]) },
    note: "one channel",
  },
  {
    inputs: [[2, 3, 5, 5], [3, 1, 3, 3], [3]],
    attributes: { group: int(3), pads: ints([1, 1, 1, 1]) },
    note: "depthwise",
  },
  {
    inputs: [
      [2, 3, 6, 6],
      [3, 1, 3, 3],
    ],
    attributes: { group: int(3), pads: ints([1, 1, 1, 1]), strides: ints([2, 2]) },
    note: "depthwise, stride 2",
  },
  {
    inputs: [
      [2, 2, 4, 4],
      [6, 1, 2, 2],
    ],
    attributes: { group: int(2) },
    note: "depthwise, multiplier 3",
  },
  {
    inputs: [
      [1, 2, 5, 6],
      [2, 2, 3, 3],
    ],
    attributes: { auto_pad: string("SAME_UPPER"), strides: ints([2, 2]) },
    note: "SAME_UPPER",
  },
  {
    inputs: [
      [1, 2, 5, 6],
      [2, 2, 2, 4],
    ],
    attributes: { auto_pad: string("SAME_LOWER") },
    note: "SAME_LOWER",
  },
  {
    inputs: [
      [1, 2, 5, 6],
      [2, 2, 2, 3],
    ],
    attributes: { auto_pad: string("VALID"), strides: ints([2, 2]) },
    note: "VALID",
  },
  {
    inputs: [[2, 2, 7], [3, 2, 3], [3]],
    attributes: { pads: ints([1, 2]), strides: ints([2]) },
    note: "1-D",
  },
  {
    inputs: [
      [1, 2, 3, 4, 3],
      [2, 2, 2, 3, 2],
    ],
    attributes: { pads: ints([1, 1, 0, 0, 1, 1]) },
    note: "3-D",
  },
  {
    inputs: [
      [2, 5, 3, 4, 3],
      [3, 5, 2, 2, 2],
    ],
    attributes: { strides: ints([1, 2, 1]), pads: ints([1, 0, 0, 0, 0, 1]) },
    note: "3-D, more channels",
  },
  {
    inputs: [
      [2, 5, 9],
      [3, 5, 3],
    ],
    attributes: { pads: ints([1, 2]), strides: ints([2]) },
    note: "1-D, more channels",
  },
  {
    inputs: [[1, 2, 4, 5, 4], [4, 1, 2, 2, 3], [4]],
    attributes: {
      strides: ints([2, 2, 1]),
      group: int(2),
      dilations: ints([1, 2, 1]),
      pads: ints([0, 1, 0, 1, 0, 1]),
    },
    note: "3-D, strided, grouped",
  },
  {
    inputs: [
      [1, 1, 4, 4],
      [1, 1, 3, 3],
    ],
    attributes: { pads: ints([3, 3, 3, 3]) },
    note: "padded beyond the kernel",
  },
  {
    inputs: [
      [2, 2, 2, 3],
      [3, 2, 5, 4],
    ],
    attributes: { pads: ints([2, 1, 1, 2]), strides: ints([1, 2]) },
    note: "kernel larger than the input",
  },
  {
    inputs: [
      [2, 2, 3, 3],
      [4, 2, 1, 1],
    ],
    attributes: { pads: ints([1, 0, 0, 2]) },
    note: "1×1, padded",
  },
  {
    inputs: [
      [1, 2, 7, 6],
      [2, 2, 3, 2],
    ],
    attributes: { auto_pad: string("SAME_LOWER"), strides: ints([3, 2]) },
    note: "SAME_LOWER, strided",
  },
  {
    inputs: [[0, 2, 4, 4], [3, 2, 3, 3], [3]],
    attributes: { pads: ints([1, 1, 1, 1]) },
    note: "no samples",
  },
  {
    inputs: [[0, 4, 4, 4], [4, 1, 3, 3], [4]],
    attributes: { group: int(4), strides: ints([2, 2]) },
    note: "no samples, depthwise",
  },
  {
    inputs: [[2, 4, 9], [4, 1, 3], [4]],
    attributes: { group: int(4), dilations: ints([2]), pads: ints([4, 0]) },
    note: "1-D, depthwise, causal",
  },
  {
    inputs: [
      [1, 3, 3, 4, 5],
      [3, 1, 2, 3, 2],
    ],
    attributes: { group: int(3), strides: ints([1, 2, 2]), pads: ints([1, 1, 0, 0, 1, 1]) },
    note: "3-D, depthwise",
  },
];
