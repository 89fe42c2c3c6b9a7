import { SorthError } from "../../errors.ts";
import { float, int, ints, string } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import type { Node } from "../../graph/node.ts";
import { dimAt, type Shape } from "../../graph/shapes.ts";
import { checkStored } from "../../graph/stored-lists.ts";
import { tableOf } from "../../lookup.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { lazy } from "../lazy.ts";
import type { RuleContext, RuleTable, Sample, SampleInput } from "../rule.ts";
import { windowSlices } from "./convolution-gradients.ts";
import { deformableConvolution } from "./deformable-convolution.ts";
import { PointSampling, type Sampling } from "./point-sampling.ts";
import { roiAlignGradient } from "./roi-align.ts";
import { windowGeometry } from "./window-geometry.ts";

const kernelOf: Readonly<Record<string, Sampling["kernel"]>> = tableOf({
  ...{ bilinear: "linear", linear: "linear", nearest: "nearest" },
  ...{ bicubic: "cubic", cubic: "cubic" },
});

/** The sampled points of a GridSample node, in elements of the image. Grid components are x, y (, z): last axis first. */
function gridSampling(context: RuleContext, g: Emit) {
  const { node } = context;
  const [x, grid] = [context.input(0), context.input(1)];
  const [mode, beyond] = [node.string("mode", "linear"), node.string("padding_mode", "zeros")];
  const kernel = kernelOf[mode];
  if (!kernel || (beyond !== "zeros" && beyond !== "border" && beyond !== "reflection")) {
    throw new SorthError(
      `GridSample node "${node.label}": unknown mode "${mode}" or padding_mode "${beyond}"`,
    );
  }
  const cornersAligned = node.flag("align_corners");
  const spatial = x.shape.slice(2);
  const batch = dimAt(x.shape, 0);
  const points = elementCount(grid.shape.slice(1, -1));
  // −1 and 1 are the centers of the outermost elements (aligned), or their outer edges.
  const steps = spatial.map((length) => (cornersAligned ? length - 1 : length) / 2);
  const positions = spatial.map((length, axis) => {
    const component = g.slice(grid, [
      { axis: -1 + grid.shape.length, start: spatial.length - 1 - axis, length: 1 },
    ]);
    const at = g.reshape(component, [batch, points]);
    return g.add(g.mul(at, steps[axis] as number), (length - 1) / 2);
  });
  return { sampling: new PointSampling(g, x, positions, { kernel, beyond, cornersAligned }), steps };
}

/** [N, C, points…] → [N, points, C]. */
function rowsOf(g: Emit, y: Typed): Typed {
  const [batch, channels, ...points] = y.shape as [number, number, ...number[]];
  return g.transposeLast(g.reshape(y, [batch, channels, elementCount(points)]));
}

/** The base grid of AffineGrid, one row (x, y (, z), 1) per point: [points, axes + 1]. */
function affineBase(spatial: Shape, cornersAligned: boolean): number[] {
  checkStored(elementCount(spatial) * (spatial.length + 1));
  const along = spatial.map((length) =>
    Array.from({ length }, (_, i) => {
      if (!cornersAligned) return (2 * i + 1) / length - 1;
      // ONNX Runtime puts a single aligned point on the far corner.
      return length === 1 ? 1 : (2 * i) / (length - 1) - 1;
    }),
  );
  const points = along.reduce<number[][]>(
    (all, values) => all.flatMap((point) => values.map((value) => [value, ...point])),
    [[]],
  );
  return points.flatMap((point) => [...point, 1]);
}

/** Number of kernel windows along each axis of an image (Col2Im's columns). */
function windowsAlong(node: Node, kernel: Shape, input: Shape): number[] {
  const { strides, dilations, begin, end } = windowGeometry(node, kernel, input, input);
  return input.map((dim, axis) => {
    const at = (list: readonly number[]) => dimAt(list, axis);
    const reach = at(dilations) * (at(kernel) - 1) + 1;
    return Math.floor((dim + at(begin) + at(end) - reach) / at(strides)) + 1;
  });
}

/** Grid coordinates in the middle of one element's cell, where interpolation has no kink. */
const cell = (index: number, length: number, aligned = false): [number, number] => {
  const at = (position: number) =>
    aligned ? (2 * position) / (length - 1) - 1 : (2 * position + 1) / length - 1;
  return [at(index + 0.2), at(index + 0.8)];
};

const gridCases = (mode: string, opset: number, shape: number[], grid: number[], cells: number[]): Sample[] =>
  ["zeros", "border", "reflection"].flatMap((padding) =>
    [0, 1].flatMap((aligned) =>
      cells.map((index) => ({
        inputs: [shape, { shape: grid, range: cell(index, dimAt(shape, 2), aligned === 1) }],
        attributes: { mode: string(mode), padding_mode: string(padding), align_corners: int(aligned) },
        opset,
        note: `cell ${index}`,
      })),
    ),
  );

/** Points at any position, halves and integers among them; the grid is constant. */
const fixedGrid = (mode: string, opset: number, more: Sample["attributes"] = {}): Sample => ({
  inputs: [
    [1, 2, 4, 4],
    {
      shape: [1, 3, 3, 2],
      constant: [
        -1, 1, 0, 0, 0.25, 0.5, -0.75, -0.5, 3.1, -2.4, -1.6, 1.3, 0.75, 0.25, -1.25, 1.25, 0.1, -0.2,
      ],
      type: "float",
    },
  ],
  attributes: { mode: string(mode), ...more },
  opset,
  note: "anywhere",
});
/** Regions [x1, y1, x2, y2, …] of images, with 2×3 cells each by default. */
const regionCase = (
  shape: number[],
  rois: number[],
  images: number[],
  attributes: NonNullable<Sample["attributes"]>,
  note: string,
): Sample => ({
  inputs: [
    shape,
    { shape: [images.length, 4], constant: rois, type: "float" },
    { shape: [images.length], constant: images },
  ],
  attributes: { output_height: int(2), output_width: int(3), ...attributes },
  note,
});

const vector = (...values: number[]): SampleInput => ({ shape: [values.length], constant: values });

export const sampling = {
  // y = Σ weights · neighbours: X gets dy times the weights; the grid gets the weights' slopes times dy · neighbours.
  GridSample: {
    vjp: (context, dy, g) => {
      const [points, rows] = [lazy(() => gridSampling(context, g)), lazy(() => rowsOf(g, dy))];
      return [
        () => points().sampling.imageGradient(rows()),
        // Rounded positions have no slope.
        context.node.string("mode", "linear") === "nearest"
          ? null
          : () => {
              const grid = context.input(1);
              const { sampling, steps } = points();
              const components = sampling
                .positionGradients(rows())
                .map((gradient, axis) =>
                  g.reshape(g.mul(gradient, steps[axis] as number), [...grid.shape.slice(0, -1), 1]),
                );
              return g.concat(components.reverse(), -1);
            },
      ];
    },
    samples: [
      fixedGrid("linear", 20),
      ...gridCases("bilinear", 16, [2, 3, 5, 5], [2, 3, 2, 2], [2, -1]),
      ...gridCases("linear", 22, [2, 2, 3, 3], [2, 2, 2, 2], [5]),
      ...gridCases("cubic", 20, [1, 2, 5, 5], [1, 2, 3, 2], [1, -2]),
      ...gridCases("linear", 20, [3, 2, 3, 3, 3], [3, 1, 2, 2, 3], [0, -1]),
      ...["zeros", "border", "reflection"].flatMap((padding) => [
        fixedGrid("nearest", 16, { padding_mode: string(padding) }),
        fixedGrid("nearest", 20, { padding_mode: string(padding), align_corners: int(1) }),
        fixedGrid("bicubic", 16, { padding_mode: string(padding) }),
        fixedGrid("linear", 20, { padding_mode: string(padding), align_corners: int(1) }),
      ]),
      {
        inputs: [
          [1, 1, 2, 3, 4],
          { shape: [1, 1, 1, 2, 3], constant: [0.3, -0.2, 0.9, 1.4, -0.6, 0.1], type: "float" },
        ],
        attributes: { mode: string("nearest") },
        opset: 20,
        note: "volume",
      },
    ],
  },

  // grid = base · θᵀ, so dθ = dgridᵀ · base
  AffineGrid: {
    vjp: (context, dy, g) => [
      () => {
        const theta = context.input(0);
        const spatial = dy.shape.slice(1, -1);
        const points = elementCount(spatial);
        const base = affineBase(spatial, context.node.flag("align_corners"));
        const rank = spatial.length;
        const matrix = g.numbers(base, [points, rank + 1], theta.type);
        const rows = g.reshape(dy, [dimAt(dy.shape, 0), points, rank]);
        return g.matMul(g.transposeLast(rows), matrix);
      },
      null,
    ],
    linear: true,
    samples: [0, 1].flatMap((aligned) => [
      {
        inputs: [[2, 2, 3], vector(2, 1, 3, 4)],
        attributes: { align_corners: int(aligned) },
        opset: 20,
        note: "image",
      },
      {
        inputs: [[1, 3, 4], vector(1, 2, 2, 3, 1)],
        attributes: { align_corners: int(aligned) },
        opset: 20,
        note: "volume",
      },
    ]) as unknown as [Sample, ...Sample[]],
  },

  // Columns are added to the image at each kernel position of each window; their gradient is dy read at those positions.
  Col2Im: {
    vjp: (context, dy, g) => [
      () => {
        const x = context.input(0);
        const [kernel, input] = [context.constant(2) ?? [], dy.shape.slice(2)];
        const geometry = windowGeometry(
          context.node,
          kernel,
          input,
          windowsAlong(context.node, kernel, input),
        );
        const [batch, channels] = dy.shape as [number, number];
        const points = elementCount(geometry.output);
        const slices = windowSlices(g, dy, geometry).map((slice) =>
          g.reshape(slice, [batch, channels, 1, points]),
        );
        return g.reshape(g.concat(slices, 2), x.shape);
      },
      null,
      null,
    ],
    linear: true,
    samples: [
      {
        inputs: [[2, 12, 4], vector(4, 4), vector(2, 2)],
        attributes: { strides: ints([2, 2]) },
        note: "apart",
      },
      { inputs: [[1, 8, 9], vector(4, 4), vector(2, 2)], note: "overlapping" },
      {
        inputs: [[1, 6, 8], vector(6, 7), vector(3, 2)],
        attributes: { strides: ints([2, 3]), pads: ints([1, 0, 2, 1]), dilations: ints([1, 2]) },
        note: "strided, padded, dilated",
      },
      { inputs: [[1, 6, 4], vector(6), vector(3)], note: "1-D" },
      { inputs: [[1, 8, 8], vector(3, 3, 3), vector(2, 2, 2)], note: "3-D" },
    ],
  },

  // The gradient of each element is dy at the position to which the element was moved.
  MaxUnpool: {
    vjp: (context, dy, g) => [
      () => g.gather(g.reshape(dy, [elementCount(dy.shape)]), context.input(1)),
      null,
      null,
    ],
    linear: true,
    samples: [
      {
        inputs: [[1, 2, 2, 2], { shape: [1, 2, 2, 2], constant: [0, 3, 9, 11, 16, 22, 28, 31] }],
        attributes: { kernel_shape: ints([2, 2]), strides: ints([2, 2]) },
      },
      {
        inputs: [[1, 1, 2, 2], { shape: [1, 1, 2, 2], constant: [5, 7, 13, 15] }, vector(1, 1, 5, 5)],
        attributes: { kernel_shape: ints([2, 2]), strides: ints([2, 2]) },
        note: "output shape",
      },
      {
        inputs: [[1, 2, 3], { shape: [1, 2, 3], constant: [1, 2, 5, 6, 9, 11] }],
        attributes: { kernel_shape: ints([2]), strides: ints([2]) },
        note: "1-D",
      },
    ],
  },

  // X gets dy times the weights of its samples. Regions count as constant, as in PyTorch: detectors do not train through them.
  RoiAlign: {
    vjp: (context, dy, g) => [() => roiAlignGradient(context, dy, g), null, null],
    linear: true,
    samples: [
      regionCase(
        [2, 3, 6, 7],
        [0.4, 0.7, 4.2, 3.9, 1, 2, 6.4, 5.6],
        [1, 0],
        { sampling_ratio: int(2) },
        "two images",
      ),
      regionCase(
        [1, 2, 5, 5],
        [-3, -2, 2, 3, 3, 3, 9, 8],
        [0, 0],
        { sampling_ratio: int(3) },
        "beyond the image",
      ),
      regionCase([1, 2, 6, 6], [0, 1, 5.2, 4, 1, 1, 1.5, 1.2], [0, 0], {}, "as many samples as elements"),
      regionCase(
        [1, 2, 6, 6],
        [0, 2, 20, 13, 8, 8, 9, 8.5],
        [0, 0],
        { coordinate_transformation_mode: string("output_half_pixel"), spatial_scale: float(0.25) },
        "output_half_pixel, scaled",
      ),
      regionCase(
        [1, 1, 4, 4],
        [0, 0, 3, 3],
        [0],
        { output_height: int(1), output_width: int(1) },
        "one cell",
      ),
      { ...regionCase([1, 1, 4, 4], [], [], {}, "no regions") },
    ],
  },
  MaxRoiPool: {
    refused: "its windows are rounded from data, region by region; RoiAlign has a derivative",
  },

  // See deformable-convolution.ts.
  DeformConv: {
    vjp: (context, dy, g) => deformableConvolution(context, dy, g),
    samples: [
      {
        inputs: [[2, 2, 4, 4], [3, 2, 3, 3], { shape: [2, 18, 4, 4], range: [0.2, 0.8] }, [3], [2, 9, 4, 4]],
        attributes: { pads: ints([1, 1, 1, 1]) },
        opset: 19,
        note: "bias, mask",
      },
      {
        inputs: [[2, 4, 5, 6], [4, 2, 2, 2], { shape: [2, 16, 3, 3], range: [-0.8, -0.2] }],
        attributes: { strides: ints([2, 2]), group: int(2), offset_group: int(2), pads: ints([0, 0, 1, 1]) },
        opset: 22,
        note: "groups, strided",
      },
      {
        inputs: [[1, 2, 6, 6], [2, 1, 2, 3], { shape: [1, 12, 4, 2], range: [1.2, 1.8] }, null, [1, 6, 4, 2]],
        attributes: { dilations: ints([2, 2]), group: int(2) },
        opset: 19,
        note: "dilated, grouped, mask",
      },
    ],
  },
} satisfies RuleTable;
