import type { Sample, SampleInput } from "../../src/autodiff/rule.ts";
import { int, ints, string } from "../../src/graph/attribute.ts";
import { elementCount } from "../../src/onnx/tensor.ts";
import { constant, type Draw, distinct, vector, within } from "./draw.ts";

function slice(draw: Draw): Sample {
  const shape = draw.shape(draw.between(1, 4), 1, 7);
  const axes = draw.axes(shape.length);
  const place = (axis: number) =>
    draw.pick([draw.between(-(shape[axis] ?? 0) - 2, (shape[axis] ?? 0) + 2), 0, 2 ** 31 - 1, -(2 ** 31)]);
  return {
    inputs: [
      shape,
      vector(axes.map(place)),
      vector(axes.map(place)),
      vector(axes.map((axis) => draw.named(axis, shape.length))),
      vector(axes.map(() => draw.pick([1, 1, 2, 3, -1, -2]))),
    ],
  };
}

/** What an update meets in the data, for a reduction. */
const operand = (reduction: string, shape: number[]): SampleInput => {
  if (reduction === "max" || reduction === "min") return distinct(shape);
  return reduction === "mul" ? within(shape, 0.5, 1.5) : shape;
};

function scatterND(draw: Draw): Sample {
  const shape = draw.shape(draw.between(1, 3), 2, 4);
  const depth = draw.between(1, shape.length);
  const reduction = draw.pick(["none", "add", "mul", "max", "min"]);
  const cells = [...Array(elementCount(shape.slice(0, depth))).keys()];
  // Without a reduction, no two updates may meet.
  const count = draw.between(1, Math.min(3, cells.length));
  const chosen =
    reduction === "none" ? draw.shuffled(cells).slice(0, count) : draw.list(count, () => draw.pick(cells));
  const axes = shape.slice(0, depth);
  const places = chosen.flatMap((cell) =>
    axes.map((dim, axis) => {
      const within = elementCount(axes.slice(axis + 1));
      return draw.named(Math.floor(cell / within) % dim, dim);
    }),
  );
  return {
    inputs: [
      operand(reduction, shape),
      constant([count, depth], places),
      operand(reduction, [count, ...shape.slice(depth)]),
    ],
    attributes: { reduction: string(reduction) },
  };
}

function pad(draw: Draw): Sample {
  const shape = draw.shape(draw.between(1, 4), 3, 5);
  const mode = draw.pick(["constant", "reflect", "edge", "wrap"]);
  const some = draw.once(3);
  const axes = some ? draw.axes(shape.length) : shape.map((_, axis) => axis);
  const pads = [...axes, ...axes].map(() => draw.between(mode === "constant" ? -1 : 0, 2));
  const value = mode === "constant" && draw.once(2) ? within([], -1, 1) : null;
  return {
    inputs: [
      shape,
      vector(pads),
      ...(some || value ? [value] : []),
      ...(some ? [vector(axes.map((axis) => draw.named(axis, shape.length)))] : []),
    ],
    attributes: { mode: string(mode) },
    opset: 19,
  };
}

function gatherND(draw: Draw): Sample {
  const shape = draw.shape(draw.between(1, 4));
  const batch = draw.below(Math.min(3, shape.length));
  const depth = draw.between(1, shape.length - batch);
  const of = [...shape.slice(0, batch), ...draw.shape(draw.below(3)), depth];
  const indices = draw.list(elementCount(of), (i) => {
    const dim = shape[batch + (i % depth)] ?? 1;
    return draw.between(-dim, dim - 1);
  });
  return { inputs: [shape, constant(of, indices)], attributes: { batch_dims: int(batch) } };
}

function along(draw: Draw, build: (shape: number[], axis: number, dim: number) => Sample["inputs"]): Sample {
  const shape = draw.shape(draw.between(1, 4));
  const axis = draw.below(shape.length);
  return {
    inputs: build(shape, axis, shape[axis] ?? 1),
    attributes: { axis: int(draw.named(axis, shape.length)) },
  };
}

/** Samples of operators that move numbers. */
export const arrangements: Readonly<Record<string, (draw: Draw) => Sample>> = {
  Slice: slice,
  ScatterND: scatterND,
  Pad: pad,
  GatherND: gatherND,
  Gather: (draw) => along(draw, (shape, _, dim) => [shape, draw.indices(draw.shape(draw.below(4)), dim)]),
  GatherElements: (draw) =>
    along(draw, (shape, axis, dim) => [
      shape,
      draw.indices(
        shape.map((of, at) => draw.between(1, at === axis ? 4 : of)),
        dim,
      ),
    ]),
  Concat: (draw) =>
    along(draw, (shape, axis) =>
      draw.list(draw.between(1, 4), () => shape.map((dim, at) => (at === axis ? draw.below(4) : dim))),
    ),
  Transpose: (draw) => {
    const shape = draw.shape(draw.between(1, 6), 1, 3);
    return { inputs: [shape], attributes: { perm: ints(draw.shuffled(shape.map((_, axis) => axis))) } };
  },
  Expand: (draw) => {
    const [from, to] = draw.broadcast();
    return { inputs: [from, vector(to)] };
  },
  Tile: (draw) => {
    const shape = draw.shape(draw.between(1, 4), 1, 3);
    return { inputs: [shape, vector(shape.map(() => draw.between(1, 3)))] };
  },
  Trilu: (draw) => ({
    inputs: [draw.shape(draw.between(2, 4), 1, 5), constant([], [draw.between(-6, 6)])],
    attributes: { upper: int(draw.below(2)) },
  }),
  CumSum: (draw) => {
    const shape = draw.shape(draw.between(1, 4));
    const axis = draw.between(-shape.length, shape.length - 1);
    return {
      inputs: [shape, constant([], [axis])],
      attributes: { exclusive: int(draw.below(2)), reverse: int(draw.below(2)) },
    };
  },
  TopK: (draw) => {
    const shape = draw.shape(draw.between(1, 4), 1, 5);
    const axis = draw.below(shape.length);
    return {
      inputs: [distinct(shape), vector([draw.between(1, shape[axis] ?? 1)])],
      attributes: { axis: int(axis), largest: int(draw.below(2)) },
      outputs: 2,
    };
  },
};
