import { SorthError } from "../../errors.ts";
import { float, int, ints, string } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { allAxes, dimAt, normalizeAxis, sameShape } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import type { RuleContext, RuleTable, Sample } from "../rule.ts";
import { transposedAlong } from "./axis-products.ts";
import { type AxisResize, type Interpolation, interpolationTaps, type Taps } from "./interpolation.ts";

function interpolationOf({ node }: RuleContext): Interpolation {
  return {
    mode: node.string("mode", "nearest"),
    coordinates: node.string("coordinate_transformation_mode", "half_pixel"),
    nearestMode: node.string("nearest_mode", "round_prefer_floor"),
    cubicCoefficient: node.float("cubic_coeff_a", -0.75),
    excludeOutside: node.flag("exclude_outside"),
    antialias: node.flag("antialias"),
  };
}

/** How each axis is resized, according to `scales` or `sizes`, which may cover only some axes. */
function axesOf(context: RuleContext): AxisResize[] {
  const { node } = context;
  const [from, to] = [context.input(0).shape, context.output(0).shape];
  const rank = from.length;
  const axes = (node.ints("axes") ?? allAxes(rank)).map((axis) => normalizeAxis(axis, rank));
  const list = (index: number) => {
    const values = context.constant(index);
    return values && values.length > 0 ? values : undefined;
  };
  const [scales, sizes] = [list(2), list(3)];
  if (!scales && !sizes) throw new SorthError(`Resize node "${node.label}" has neither scales nor sizes`);
  const ratio = (axis: number, i: number) => Math.fround((sizes?.[i] ?? 1) / dimAt(from, axis));
  let given = scales ?? axes.map(ratio);
  const policy = node.string("keep_aspect_ratio_policy", "stretch");
  if (!scales && policy !== "stretch") {
    const one = policy === "not_larger" ? Math.min(...given) : Math.max(...given);
    given = given.map(() => one);
  }
  const crops = node.string("coordinate_transformation_mode", "half_pixel") === "tf_crop_and_resize";
  const roi = crops ? list(1) : undefined;
  return from.map((dim, axis) => {
    const i = axes.indexOf(axis);
    const range = [roi?.[i] ?? 0, roi?.[i + axes.length] ?? 1] as const;
    return {
      from: dim,
      to: dimAt(to, axis),
      scale: i < 0 ? 1 : (given[i] ?? 1),
      roi: i < 0 ? [0, 1] : range,
    };
  });
}

/** The integer factor of an enlargement that repeats every element in place equally often; otherwise undefined. */
function repeats(taps: readonly Taps[], length: number): number | undefined {
  const factor = taps.length / length;
  if (!Number.isInteger(factor)) return undefined;
  return taps.every((tap, o) => tap.length === 1 && tap[0]?.[0] === Math.floor(o / factor))
    ? factor
    : undefined;
}

/** Resize is linear in x and acts on each axis separately: dx is the product of dy with each axis's transposed matrix. */
function resizeGradient(context: RuleContext, dy: Typed, g: Emit): Typed {
  const x = context.input(0);
  if (sameShape(x.shape, dy.shape)) return dy;
  if (elementCount(dy.shape) === 0) return g.expand(g.reduceSum(dy), x.shape);
  const method = interpolationOf(context);
  const axes = axesOf(context).map((axis, index) => ({
    ...axis,
    index,
    taps: interpolationTaps(axis, method),
  }));
  const changed = axes.filter(({ taps, from }) => repeats(taps, from) !== 1);
  const copying = changed.filter(({ taps, from }) => repeats(taps, from));
  const mixing = changed.filter((axis) => !copying.includes(axis));
  // Process the axes that shrink most first, which leaves less work for the others.
  mixing.sort((a, b) => a.from / a.to - b.from / b.to);
  const summed = sumRepeats(
    g,
    dy,
    copying.map(({ index, from }) => ({ axis: index, length: from })),
  );
  return mixing.reduce(
    (gradient, { index, taps, from }) => transposedAlong(g, gradient, index, taps, from),
    summed,
  );
}

/** Sums over the copies along axes whose `length` elements were each repeated in place. */
function sumRepeats(g: Emit, dy: Typed, axes: readonly { axis: number; length: number }[]): Typed {
  const split: number[] = [];
  const summed: number[] = [];
  dy.shape.forEach((dim, axis) => {
    const length = axes.find((entry) => entry.axis === axis)?.length;
    if (length === undefined) {
      split.push(dim);
      return;
    }
    split.push(length, dim / length);
    summed.push(split.length - 1);
  });
  return summed.length === 0 ? dy : g.reduceSum(g.reshape(dy, split), summed);
}

type Attributes = NonNullable<Sample["attributes"]>;
const floats = (...values: number[]) =>
  ({ shape: [values.length], constant: values, type: "float" }) as const;
const integers = (...values: number[]) => ({ shape: [values.length], constant: values });
const scaled = (shape: number[], scales: number[], attributes: Attributes, note = ""): Sample => ({
  inputs: [shape, null, floats(...scales)],
  attributes,
  opset: 19,
  note: `× ${scales.join(", ")} ${note}`.trim(),
});
const sized = (shape: number[], sizes: number[], attributes: Attributes, note = "", opset = 19): Sample => ({
  inputs: [shape, null, null, integers(...sizes)],
  attributes,
  opset,
  note: `to ${sizes.join(", ")} ${note}`.trim(),
});
const mode = (name: string, coordinates?: string, more: Attributes = {}): Attributes => ({
  mode: string(name),
  ...(coordinates ? { coordinate_transformation_mode: string(coordinates) } : {}),
  ...more,
});

const coordinateModes = [
  "half_pixel",
  "half_pixel_symmetric",
  "pytorch_half_pixel",
  "align_corners",
  "asymmetric",
];
/** Every coordinate transformation: enlarging, shrinking, and resizing to one element. */
const everywhere = (name: string, more: Attributes = {}): Sample[] =>
  coordinateModes.flatMap((coordinates) => [
    scaled([1, 2, 4, 5], [1, 1, 2.5, 0.6], mode(name, coordinates, more)),
    sized([1, 1, 3, 6], [1, 1, 7, 1], mode(name, coordinates, more)),
  ]);
const cropped = (
  name: string,
  shape: number[],
  roi: number[],
  sizes: number[],
  more: Attributes = {},
): Sample => ({
  inputs: [shape, floats(...roi), null, integers(...sizes)],
  attributes: mode(name, "tf_crop_and_resize", { extrapolation_value: float(10), ...more }),
  opset: 19,
  note: `roi ${roi.join(", ")}`,
});

export const resize = {
  Resize: {
    vjp: (context, dy, g) => [() => resizeGradient(context, dy, g), null, null, null],
    linear: true,
    samples: [
      scaled(
        [2, 3, 3, 4],
        [1, 1, 2, 2],
        mode("nearest", "asymmetric", { nearest_mode: string("floor") }),
        "U-Net",
      ),
      scaled([2, 3, 3, 4], [1, 1, 2, 2], mode("linear"), "U-Net"),
      ...["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"].flatMap((nearest) =>
        everywhere("nearest", { nearest_mode: string(nearest) }),
      ),
      ...everywhere("linear"),
      ...everywhere("cubic"),
      ...everywhere("cubic", { exclude_outside: int(1), cubic_coeff_a: float(-0.5) }),
      ...everywhere("linear", { antialias: int(1) }),
      ...everywhere("cubic", { antialias: int(1) }),
      scaled(
        [1, 1, 6, 6],
        [1, 1, 0.4, 0.7],
        mode("linear", undefined, { antialias: int(1), exclude_outside: int(1) }),
      ),
      scaled(
        [1, 1, 6, 6],
        [1, 1, 0.4, 2],
        mode("cubic", undefined, { antialias: int(1), exclude_outside: int(1) }),
      ),
      // Ranks.
      scaled([5], [3], mode("nearest")),
      scaled([5], [0.5], mode("nearest")),
      scaled([2, 3], [1.5, 2], mode("linear")),
      scaled([2, 3], [1.5, 2], mode("cubic")),
      scaled([2, 3, 4], [1, 1.5, 2], mode("linear")),
      scaled([2, 3, 4], [2, 2, 1], mode("nearest")),
      scaled([1, 2, 2, 3, 2], [1, 1, 2, 1.4, 3], mode("linear"), "volume"),
      scaled([1, 2, 2, 3, 2], [1, 1, 2, 3, 2], mode("nearest"), "volume"),
      scaled([1, 2, 2, 2, 2, 1], [1, 2, 2, 1, 2, 3], mode("nearest"), "6-D"),
      scaled([1, 4, 3, 2], [1, 2, 1.5, 1], mode("linear"), "channels last"),
      scaled([1, 4, 3, 2], [1, 2, 1.5, 1], mode("nearest"), "channels last"),
      // Scales whose rounded size equals the input's size; long axes.
      scaled([1, 1, 8, 8], [1, 1, 1.05, 1.05], mode("linear"), "as large"),
      scaled([1, 1, 8, 7], [1, 1, 1.05, 1.3], mode("linear"), "one axis as large"),
      sized([1, 1, 3, 200], [1, 1, 5, 310], mode("linear"), "long rows"),
      sized([1, 1, 150, 2], [1, 1, 70, 2], mode("linear"), "long columns"),
      // The `axes` attribute, keep_aspect_ratio_policy, and crops.
      {
        inputs: [[1, 3, 4, 2], null, floats(2, 1.5)],
        attributes: { ...mode("nearest"), axes: ints([2, 1]) },
      },
      {
        inputs: [[1, 3, 4, 2], null, null, integers(7, 3)],
        attributes: { ...mode("linear"), axes: ints([2, 3]) },
      },
      ...["not_larger", "not_smaller"].flatMap((policy) => [
        sized(
          [1, 1, 4, 5],
          [7, 8],
          {
            ...mode("linear"),
            axes: ints([2, 3]),
            keep_aspect_ratio_policy: string(policy),
          },
          policy,
          18,
        ),
        sized(
          [1, 1, 4, 6],
          [3, 3],
          {
            ...mode("nearest"),
            axes: ints([2, 3]),
            keep_aspect_ratio_policy: string(policy),
          },
          policy,
          18,
        ),
      ]),
      cropped("linear", [1, 1, 4, 4], [0, 0, 0.4, 0.6, 1, 1, 0.6, 0.8], [1, 1, 3, 3]),
      cropped("linear", [1, 1, 4, 4], [0, 0, 0.4, -0.6, 1, 1, 1.2, 0.8], [1, 1, 3, 5]),
      cropped("nearest", [1, 1, 4, 5], [0, 0, 0.4, 0.6, 1, 1, 1.2, 1.7], [1, 1, 3, 6]),
      cropped("cubic", [1, 1, 5, 4], [0, 0, 0.1, -0.6, 1, 1, 1.2, 0.8], [1, 1, 3, 6]),
      cropped("linear", [1, 1, 5, 4], [0, 0, 0.1, -0.6, 1, 1, 1.2, 0.8], [1, 1, 3, 1]),
      cropped("linear", [1, 1, 5, 6], [0.1, -0.2, 0.8, 1.2], [3, 4], { axes: ints([2, 3]) }),
      // Older forms.
      {
        inputs: [[1, 1, 2, 3], floats(), floats(1, 1, 3, 2)],
        attributes: mode("nearest"),
        opset: 11,
        note: "opset 11",
      },
      sized([1, 1, 2, 3], [1, 1, 3, 2], mode("linear"), "", 13),
      scaled([1, 1, 0, 3], [1, 1, 2, 2], mode("nearest"), "nothing"),
      scaled([1, 1, 2, 3], [1, 1, 0.3, 2], mode("nearest"), "to nothing"),
    ],
  },
  Upsample: { refused: "it is Resize since opset 10, to which older models are raised first" },
} satisfies RuleTable;
