import type { Sample } from "../../src/autodiff/rule.ts";
import { type Attribute, int, ints, string } from "../../src/graph/attribute.ts";
import { type Draw, distinct, vector, within } from "./draw.ts";

/** Windows over so many spatial axes, and images that they fit into. */
function windowsOf(draw: Draw, rank: number, largest: number, room: number) {
  const [kernel, strides] = [draw.shape(rank, 1, largest), draw.shape(rank, 1, 3)];
  const dilations = draw.once(2) ? kernel.map(() => 1) : draw.shape(rank, 1, 2);
  const reach = kernel.map((size, axis) => (size - 1) * (dilations[axis] ?? 1) + 1);
  const pads = [...reach, ...reach].map((size) => (draw.once(2) ? 0 : draw.below(Math.min(3, size))));
  const image = reach.map((size) => size + draw.below(draw.pick([4, 9, room])));
  return { kernel, strides, dilations, pads, image };
}

/** Pads as numbers, or as a rule. With SAME, dilations are left out. */
function padding(
  draw: Draw,
  pads: readonly number[],
  dilations: readonly number[],
): Record<string, Attribute> {
  const rule = draw.pick(["", "", "", "SAME_UPPER", "SAME_LOWER", "VALID"]);
  return {
    ...(rule === "" ? { pads: ints(pads) } : { auto_pad: string(rule) }),
    ...(!rule.startsWith("SAME") && { dilations: ints(dilations) }),
  };
}

const spatial = (draw: Draw) => draw.pick([1, 2, 2, 2, 3]);

function convolution(draw: Draw): Sample {
  const { kernel, strides, dilations, pads, image } = windowsOf(draw, spatial(draw), 5, 30);
  const group = draw.pick([1, 1, 1, 2, 3, 4]);
  const [inputs, outputs] = [draw.pick([1, 1, 2, 3, 4, 8]), draw.pick([1, 1, 2, 4, 5, 8]) * group];
  return {
    inputs: [
      [draw.pick([1, 2, 3]), inputs * group, ...image],
      [outputs, inputs, ...kernel],
      ...(draw.once(2) ? [[outputs]] : []),
    ],
    attributes: { group: int(group), strides: ints(strides), ...padding(draw, pads, dilations) },
  };
}

function transposedConvolution(draw: Draw): Sample {
  const rank = spatial(draw);
  const { kernel, strides, dilations, pads } = windowsOf(draw, rank, 4, 1);
  const group = draw.pick([1, 1, 2, 3]);
  const [inputs, outputs] = [draw.between(1, 4), draw.pick([1, 2, 3, 4])];
  const image = draw.shape(rank, 2, 6);
  const shape = image.map((dim, axis) => dim * (strides[axis] ?? 1) + draw.below(2));
  return {
    inputs: [
      [draw.pick([1, 2]), inputs * group, ...image],
      [inputs * group, outputs, ...kernel],
      ...(draw.once(2) ? [[outputs * group]] : []),
    ],
    attributes: {
      ...{ group: int(group), strides: ints(strides), ...padding(draw, pads, dilations) },
      ...(draw.once(5) && { output_shape: ints(shape) }),
      ...(draw.once(2) && { output_padding: ints(strides.map((stride) => draw.below(stride))) }),
    },
  };
}

function pool(
  draw: Draw,
  input: (shape: number[]) => Sample["inputs"][number],
  more: Sample["attributes"],
): Sample {
  const { kernel, strides, dilations, pads, image } = windowsOf(draw, spatial(draw), 3, 12);
  return {
    inputs: [input([draw.between(1, 2), draw.between(1, 3), ...image])],
    attributes: {
      ...{ kernel_shape: ints(kernel), strides: ints(strides), ceil_mode: int(draw.below(2)) },
      ...padding(draw, pads, dilations),
      ...more,
    },
    // Before, shapes with ceil_mode are inferred that the kernels do not have.
    opset: 22,
  };
}

const interpolations = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"];

function resize(draw: Draw): Sample {
  const image = draw.shape(draw.pick([1, 2, 2, 3]), 1, draw.pick([5, 5, 20]));
  const shape = [draw.between(1, 2), draw.between(1, 3), ...image];
  const mode = draw.pick(["nearest", "linear", ...(image.length === 2 ? ["cubic"] : [])]);
  const scales = [1, 1, ...image.map(() => draw.pick([0.5, 1, 1.5, 2, 2.3, 3]))];
  const sizes = [...shape.slice(0, 2), ...image.map((dim) => draw.between(1, 2 * dim + 1))];
  return {
    inputs: draw.once(2) ? [shape, null, vector(scales, "float")] : [shape, null, null, vector(sizes)],
    attributes: {
      mode: string(mode),
      coordinate_transformation_mode: string(draw.pick(interpolations)),
      ...(mode === "nearest" && {
        nearest_mode: string(draw.pick(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])),
      }),
      ...(mode === "cubic" && { exclude_outside: int(draw.below(2)) }),
    },
    opset: 19,
  };
}

/** Samples of operators that slide windows over images, or resize them. */
export const windows: Readonly<Record<string, (draw: Draw) => Sample>> = {
  Conv: convolution,
  ConvTranspose: transposedConvolution,
  MaxPool: (draw) => pool(draw, distinct, {}),
  AveragePool: (draw) => pool(draw, (shape) => shape, { count_include_pad: int(draw.below(2)) }),
  LpPool: (draw) => pool(draw, (shape) => within(shape, 0.2, 1), { p: int(draw.between(1, 4)) }),
  Resize: resize,
};
