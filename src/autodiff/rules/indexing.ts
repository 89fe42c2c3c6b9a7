import { int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { allAxes, dimAt, normalizeAxis, type Shape } from "../../graph/shapes.ts";
import { checkStored } from "../../graph/stored-lists.ts";
import { elementCount } from "../../onnx/tensor.ts";
import type { RuleTable, SampleInput } from "../rule.ts";

const at = (shape: number[], ...values: number[]): SampleInput => ({ shape, constant: values });
const at32 = (shape: number[], ...values: number[]): SampleInput => ({
  shape,
  constant: values,
  type: "int32",
});

/** Rewrites GatherND indices that have batch axes into indices without, by prepending the position along each batch axis. */
function withBatchPositions(g: Emit, indices: Typed, batchAxes: number): Typed {
  const rank = indices.shape.length;
  const lead = indices.shape.slice(0, -1);
  const positions = allAxes(batchAxes).map((axis) => {
    const dim = dimAt(lead, axis);
    checkStored(dim);
    const line = g.int64s(Array.from({ length: dim }, (_, i) => i));
    const aligned = Array.from({ length: rank }, (_, other) => (other === axis ? dim : 1));
    return g.expand(g.reshape(line, aligned), [...lead, 1]);
  });
  return g.concat([...positions, indices], rank - 1);
}

/** The gradient of a value of `shape` from which slices along an axis were read: each is added where it was read. */
export function addedWhereRead(g: Emit, dy: Typed, shape: Shape, axis: number, indices: Typed): Typed {
  const rank = indices.shape.length;
  // ScatterND adds along leading axes: move the gathered axes to the front, and the result's axis back afterwards.
  const gathered = allAxes(rank).map((i) => axis + i);
  const rest = allAxes(dy.shape.length).filter((i) => !gathered.includes(i));
  const zeros = g.filled(0, [dimAt(shape, axis), ...shape.toSpliced(axis, 1)], dy.type);
  const positions = g.cast(g.reshape(indices, [...indices.shape, 1]), "int64");
  const sum = g.scatterAdd(zeros, positions, g.transpose(dy, [...gathered, ...rest]));
  const order = allAxes(shape.length).slice(1);
  order.splice(axis, 0, 0);
  return g.transpose(sum, order);
}

/** Operators that read elements at indices; a gradient is added at the positions that were read. */
export const indexing = {
  Gather: {
    vjp: (context, dy, g) => [
      () => {
        const { shape } = context.input(0);
        const axis = normalizeAxis(context.node.int("axis", 0), shape.length);
        return addedWhereRead(g, dy, shape, axis, context.input(1));
      },
      null,
    ],
    samples: [
      { inputs: [[4, 3], at([3], 2, 0, 2)] },
      { inputs: [[2, 5, 3], at([2, 2], 1, -1, 0, 1)], attributes: { axis: int(1) } },
      { inputs: [[2, 5, 3], at32([2], -3, 2)], attributes: { axis: int(-1) }, note: "int32" },
      { inputs: [[2, 5], at([], 3)], attributes: { axis: int(1) }, note: "scalar index" },
      { inputs: [[5], at([], -1)], note: "scalar result" },
      { inputs: [[5], at([1, 2, 2], 0, 4, 4, 1)], note: "rank 3 indices" },
      { inputs: [[4, 3], at([0])], note: "nothing gathered" },
      { inputs: [[4, 0], at([2], 1, 3)], note: "empty" },
    ],
    linear: true,
  },

  GatherElements: {
    vjp: (context, dy, g) => [
      () => {
        const x = context.input(0);
        const zeros = g.filled(0, x.shape, x.type);
        return g.scatterElementsAdd(zeros, context.input(1), dy, context.node.int("axis", 0));
      },
      null,
    ],
    samples: [
      { inputs: [[3, 3], at([2, 3], 1, 2, 0, 2, 0, 0)] },
      { inputs: [[3, 4], at([2, 3], 1, -1, 1, -4, 2, 3)], attributes: { axis: int(1) } },
      { inputs: [[2, 2, 3], at32([2, 1, 4], 0, 2, 2, 1, 0, 0, -1, 1)], attributes: { axis: int(-1) } },
      { inputs: [[4], at([2], 3, 3)], note: "vector" },
      { inputs: [[4], at([0])], note: "empty" },
    ],
    linear: true,
  },

  GatherND: {
    vjp: (context, dy, g) => [
      () => {
        const x = context.input(0);
        const indices = withBatchPositions(g, context.input(1), context.node.int("batch_dims", 0));
        return g.scatterAdd(g.filled(0, x.shape, x.type), indices, dy);
      },
      null,
    ],
    samples: [
      { inputs: [[3, 4], at([3, 1], 2, 0, 2)] },
      { inputs: [[3, 4], at([2, 2], 0, 1, -1, 3)] },
      { inputs: [[3, 4], at([2], 2, 3)], note: "scalar result" },
      { inputs: [[2, 3, 4], at([2, 1], 1, 0)], attributes: { batch_dims: int(1) }, note: "batch" },
      {
        inputs: [[2, 3, 4, 2], at([2, 3, 2, 1], 1, 0, 1, 1, 2, -1, 3, 0, 0, 0, 2, 1)],
        attributes: { batch_dims: int(2) },
        note: "two batch axes",
      },
      {
        inputs: [[2, 3, 4], at([2, 3, 2], 1, 0, 1, 0, 2, 3, 0, 0, 2, 1, 0, 3)],
        attributes: { batch_dims: int(1) },
        note: "batch, pairs",
      },
      { inputs: [[3, 4], at([0, 1])], note: "nothing gathered" },
    ],
    linear: true,
  },

  // Selects `off` or `on` for every class; each of the two gets Σ dy over the elements that selected it.
  OneHot: {
    vjp: (context, dy, g) => [
      null,
      null,
      () => {
        const axis = normalizeAxis(context.node.int("axis", -1), dy.shape.length);
        const depth = dimAt(dy.shape, axis);
        const indices = g.unsqueeze(g.cast(context.input(0), "int32"), [axis]);
        const classes = g.reshape(
          g.iota(depth),
          dy.shape.map((_, other) => (other === axis ? depth : 1)),
        );
        const positive = g.where(g.less(indices, 0), g.add(indices, depth), indices);
        const on = g.equal(positive, classes);
        const sum = (values: Typed) => g.reshape(g.reduceSum(values), [1]);
        return g.concat([sum(g.where(on, 0, dy)), sum(g.where(on, dy, 0))], 0);
      },
    ],
    samples: [
      { inputs: [at([4], 0, 2, -1, 7), at([], 3), [2]] },
      { inputs: [at([2, 2], 0, 2, -2, 1), at([1], 3), [2]], attributes: { axis: int(1) } },
      { inputs: [at32([2], 1, 0), at32([], 2), [2]], attributes: { axis: int(0) }, note: "int32" },
      { inputs: [at([0]), at([], 3), [2]], note: "empty" },
    ],
    linear: true,
  },

  // Selects elements or slices where a constant condition holds.
  Compress: {
    vjp: (context, dy, g) => {
      const x = context.input(0);
      const kept = (context.constant(1) ?? []).flatMap((flag, index) => (flag ? [index] : []));
      const attribute = context.node.attributes.get("axis");
      const flat = attribute?.kind !== "int";
      const axis = flat ? 0 : normalizeAxis(attribute.value, x.shape.length);
      const shape = flat ? [elementCount(x.shape)] : x.shape;
      const positions = g.constant("int64", [kept.length, 1], BigInt64Array.from(kept, BigInt));
      const order = [axis, ...allAxes(shape.length).filter((other) => other !== axis)];
      const inverse = allAxes(order.length).map((other) => order.indexOf(other));
      return [
        () => {
          const zeros = g.filled(
            0,
            order.map((other) => dimAt(shape, other)),
            x.type,
          );
          const sum = g.scatterAdd(zeros, positions, g.transpose(dy, order));
          return g.reshape(g.transpose(sum, inverse), x.shape);
        },
        null,
      ];
    },
    samples: [
      { inputs: [[2, 3], { shape: [3], constant: [1, 0, 1], type: "bool" }], attributes: { axis: int(1) } },
      { inputs: [[3, 2], { shape: [2], constant: [0, 1], type: "bool" }], attributes: { axis: int(-2) } },
      { inputs: [[2, 3], { shape: [5], constant: [1, 0, 0, 1, 1], type: "bool" }], note: "flat" },
      {
        inputs: [[2, 3], { shape: [2], constant: [0, 0], type: "bool" }],
        attributes: { axis: int(0) },
        note: "nothing kept",
      },
    ],
    linear: true,
  },
} satisfies RuleTable;
