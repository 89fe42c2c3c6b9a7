import { int, ints, string } from "../../graph/attribute.ts";
import type { Sample } from "../rule.ts";

/** The samples of ConvTranspose. */
export const transposedSamples: readonly [Sample, ...Sample[]] = [
  { inputs: [[2, 3, 3, 4], [3, 2, 3, 3], [2]], note: "bias" },
  {
    inputs: [
      [1, 2, 3, 3],
      [2, 3, 3, 3],
    ],
    attributes: { strides: ints([2, 2]), pads: ints([1, 1, 1, 1]), output_padding: ints([1, 1]) },
    note: "output padding",
  },
  {
    inputs: [[1, 4, 3, 3], [4, 2, 2, 3], [4]],
    attributes: { strides: ints([2, 1]), group: int(2), pads: ints([0, 1, 1, 0]) },
    note: "grouped",
  },
  {
    inputs: [
      [1, 2, 3, 3],
      [2, 2, 3, 3],
    ],
    attributes: { strides: ints([2, 2]), output_shape: ints([6, 5]) },
    note: "output shape",
  },
  {
    inputs: [
      [1, 2, 3, 3],
      [2, 2, 3, 3],
    ],
    attributes: { strides: ints([2, 2]), output_shape: ints([6, 6]), auto_pad: string("SAME_UPPER") },
    note: "output shape, SAME_UPPER",
  },
  {
    inputs: [
      [1, 2, 3, 4],
      [2, 2, 4, 3],
    ],
    attributes: { strides: ints([2, 2]), auto_pad: string("SAME_LOWER") },
    note: "SAME_LOWER",
  },
  {
    inputs: [
      [1, 2, 3, 3],
      [2, 2, 2, 2],
    ],
    attributes: { dilations: ints([3, 2]), strides: ints([2, 1]), output_padding: ints([1, 0]) },
    note: "dilated",
  },
  {
    inputs: [[2, 2, 4], [2, 3, 3], [3]],
    attributes: { strides: ints([2]), pads: ints([1, 0]) },
    note: "1-D",
  },
  {
    inputs: [
      [1, 2, 2, 3, 2],
      [2, 2, 2, 2, 2],
    ],
    attributes: { strides: ints([2, 1, 1]), pads: ints([1, 0, 0, 0, 0, 1]) },
    note: "3-D",
  },
  {
    inputs: [
      [1, 3, 3, 3],
      [3, 1, 3, 3],
    ],
    attributes: { group: int(3), strides: ints([2, 2]) },
    note: "depthwise",
  },
  {
    inputs: [
      [2, 3, 3, 3],
      [3, 2, 1, 1],
    ],
    note: "1×1",
  },
  {
    inputs: [[1, 4, 3, 2], [4, 3, 3, 4], [6]],
    attributes: {
      ...{ group: int(2), strides: ints([3, 2]), pads: ints([0, 1, 2, 0]) },
      ...{ output_padding: ints([2, 1]), dilations: ints([2, 1]) },
    },
    note: "asymmetric padding, output padding, grouped, dilated",
  },
  {
    inputs: [
      [1, 2, 3, 4],
      [2, 2, 4, 3],
    ],
    attributes: { strides: ints([2, 3]), auto_pad: string("SAME_UPPER") },
    note: "SAME_UPPER",
  },
  {
    inputs: [
      [1, 2, 3, 4],
      [2, 2, 4, 3],
    ],
    attributes: { strides: ints([2, 3]), auto_pad: string("VALID") },
    note: "VALID",
  },
  {
    inputs: [
      [1, 2, 3, 3],
      [2, 1, 2, 2],
    ],
    attributes: { strides: ints([3, 3]), output_shape: ints([9, 8]), output_padding: ints([1, 0]) },
    note: "output shape and output padding",
  },
  {
    inputs: [
      [1, 2, 1, 2],
      [2, 2, 5, 4],
    ],
    attributes: { pads: ints([1, 2, 2, 1]) },
    note: "kernel larger than the input",
  },
  {
    inputs: [[0, 2, 3, 3], [2, 3, 2, 2], [3]],
    attributes: { strides: ints([2, 2]) },
    note: "no samples",
  },
  {
    inputs: [[1, 2, 2, 2, 3], [2, 2, 3, 2, 2], [4]],
    attributes: {
      ...{ group: int(2), strides: ints([2, 2, 1]), pads: ints([1, 0, 0, 0, 1, 1]) },
      ...{ output_padding: ints([1, 1, 0]), dilations: ints([1, 2, 1]) },
    },
    note: "3-D, grouped, output padding",
  },
];
