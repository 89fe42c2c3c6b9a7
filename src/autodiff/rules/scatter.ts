import { SorthError } from "../../errors.ts";
import { int, string } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import type { ScatterReduction } from "../../graph/emit-indexing.ts";
import { dimAt, normalizeAxis } from "../../graph/shapes.ts";
import { comparable } from "../comparable.ts";
import type { Rule, RuleContext, RuleTable, Sample, SampleInput, Thunk } from "../rule.ts";

/** How a scatter operator reads and writes the elements at its indices. */
interface Access {
  /** The elements at the indices, in the shape of the updates. */
  read(from: Typed): Typed;
  /** `into` with `values` written at the indices, or combined there with the old elements by `reduction`. */
  write(into: Typed, values: Typed, reduction?: ScatterReduction): Typed;
}

/**
 * Gradients of data and updates, as PyTorch's scatter and scatter_reduce define them. Overwritten data gets zero;
 * elements that tie for max or min get equal shares.
 */
function scatterGradients(context: RuleContext, dy: Typed, g: Emit, access: Access): [Thunk, Thunk] {
  const [data, updates, y] = [context.input(0), context.input(2), context.output(0)];
  const zeros = () => g.filled(0, data.shape, data.type);
  const reduction = context.node.string("reduction", "none");
  switch (reduction) {
    case "none":
      return [() => access.write(dy, g.filled(0, updates.shape, dy.type)), () => access.read(dy)];
    case "add":
      return [() => dy, () => access.read(dy)];
    case "mul":
      return [
        () => g.mul(dy, access.write(g.filled(1, data.shape, data.type), updates, "mul")),
        () => {
          // The product of the other factors: computed with zeros replaced by 1, and 0 if another factor is 0.
          const zero = g.equal(updates, 0);
          const own = g.indicator(zero, updates.type);
          const nonzero = g.where(zero, 1, updates);
          const others = g.div(access.read(g.mul(dy, access.write(data, nonzero, "mul"))), nonzero);
          const count = access.read(access.write(zeros(), own, "add"));
          return g.where(g.equal(count, own), others, 0);
        },
      ];
    case "max":
    case "min": {
      const [old, added] = [comparable(g, data), comparable(g, updates)];
      const attained = g.once(`selected ${y.name}`, () =>
        old === data ? y : access.write(old, added, reduction),
      );
      const kept = () => g.indicator(g.equal(old, attained), data.type);
      const taken = () => g.indicator(g.equal(added, access.read(attained)), data.type);
      const share = () => g.div(dy, access.write(kept(), taken(), "add"));
      // An element to which no update is written keeps its value, so its share is dy.
      return [() => g.mul(share(), kept()), () => g.mul(access.read(share()), taken())];
    }
    default:
      throw new SorthError(
        `cannot differentiate ${context.node.op} (node "${context.node.label}"): unknown reduction "${reduction}"`,
      );
  }
}

const elements: Rule["vjp"] = (context, dy, g) => {
  const axis = context.node.int("axis", 0);
  const indices = context.input(1);
  const [data, updates] = scatterGradients(context, dy, g, {
    read: (from) => g.gatherElements(from, indices, axis),
    write: (into, values, reduction) => g.scatterElements(into, indices, values, axis, reduction),
  });
  return [data, null, updates];
};

/** The position along `axis` to which each element of the update is written: int32, in the update's shape. */
function writePositions(context: RuleContext, g: Emit, axis: number): Typed {
  const [cache, update] = [context.input(0), context.input(1)];
  const along = (line: Typed, at: number) =>
    g.reshape(
      line,
      update.shape.map((dim, other) => (other === at ? dim : 1)),
    );
  const steps = along(g.iota(dimAt(update.shape, axis)), axis);
  const first = context.inputs[2];
  const positions = first ? g.add(along(g.cast(first, "int32"), 0), steps) : steps;
  const length = dimAt(cache.shape, axis);
  const circular = context.node.string("mode", "linear") === "circular";
  const wrapped = circular
    ? g.where(g.less(positions, length), positions, g.sub(positions, length))
    : positions;
  return g.expand(wrapped, update.shape);
}

const at = (shape: number[], ...values: number[]): SampleInput => ({ shape, constant: values });
const distinct = (...shape: number[]): SampleInput => ({ shape, distinct: true });
const factors = (...shape: number[]): SampleInput => ({ shape, range: [0.5, 1.5] });
const reduced = (name: string, ...inputs: SampleInput[]): Sample => ({
  inputs,
  attributes: { reduction: string(name) },
});

const elementSamples: Rule["samples"] = [
  { inputs: [[3, 3], at([2, 3], 1, 0, 2, 0, 2, 1), [2, 3]] },
  { inputs: [[2, 5], at([1, 2], 1, -2), [1, 2]], attributes: { axis: int(1) }, note: "negative index" },
  { inputs: [[2, 5], at([2, 2], 1, 3, 0, -1), [2, 2]], attributes: { axis: int(-1) } },
  { inputs: [[5], { shape: [2], constant: [4, 0], type: "int32" }, [2]], note: "int32" },
  { inputs: [[5], at([0]), [0]], note: "no updates" },
  reduced("add", [3, 3], at([2, 3], 1, 0, 2, 1, 2, -1), [2, 3]),
  reduced("mul", factors(3, 3), at([2, 3], 1, 0, 2, 1, 2, -1), factors(2, 3)),
  reduced("max", distinct(3, 3), at([2, 3], 1, 0, 2, 1, 2, -1), distinct(2, 3)),
  reduced("min", distinct(3, 3), at([2, 3], 1, 0, 2, 1, 2, -1), distinct(2, 3)),
];

export const scatter = {
  ScatterElements: { vjp: elements, samples: elementSamples },
  Scatter: { refused: "it is ScatterElements since opset 11, to which older models are raised first" },
  ScatterND: {
    vjp: (context, dy, g) => {
      const indices = context.input(1);
      const [data, updates] = scatterGradients(context, dy, g, {
        read: (from) => g.gatherND(from, indices),
        write: (into, values, reduction) => g.scatter(into, indices, values, reduction),
      });
      return [data, null, updates];
    },
    samples: [
      { inputs: [[4, 3], at([2, 1], 2, 0), [2, 3]] },
      { inputs: [[4, 3], at([2, 2], 2, 0, -1, -1), [2]], note: "elements" },
      { inputs: [[2, 4, 3], at([2, 2, 2], 0, 2, 1, 0, 1, 3, 0, 1), [2, 2, 3]], note: "rank 3" },
      { inputs: [[4, 3], at([2], 2, 1), []], note: "one element" },
      { inputs: [[4, 3], at([0, 1]), [0, 3]], note: "no updates" },
      reduced("add", [4, 3], at([3, 1], 2, 0, 2), [3, 3]),
      reduced("mul", factors(4, 3), at([3, 1], 2, 0, -2), factors(3, 3)),
      reduced("max", distinct(4, 3), at([3, 1], 2, 0, 2), distinct(3, 3)),
      reduced("min", distinct(4, 3), at([3, 1], 2, 0, 2), distinct(3, 3)),
    ],
  },
  // Writes an update into a cache, from a given position on.
  TensorScatter: {
    vjp: (context, dy, g) => {
      const axis = normalizeAxis(context.node.int("axis", -2), dy.shape.length);
      const update = context.input(1);
      return [
        () =>
          g.scatterElements(dy, writePositions(context, g, axis), g.filled(0, update.shape, dy.type), axis),
        () => g.gatherElements(dy, writePositions(context, g, axis), axis),
        null,
      ];
    },
    samples: [
      { inputs: [[2, 4, 3], [2, 2, 3], at([2], 1, 2)], opset: 24 },
      {
        inputs: [
          [2, 4, 3],
          [2, 2, 3],
        ],
        opset: 24,
        note: "from the beginning",
      },
      {
        inputs: [[2, 2, 4, 3], [2, 2, 2, 3], at([2], 3, 1)],
        attributes: { mode: string("circular") },
        opset: 24,
        note: "circular",
      },
      { inputs: [[2, 4], [2, 1], at([2], 3, 1)], attributes: { axis: int(1) }, opset: 24 },
    ],
    linear: true,
  },
} satisfies RuleTable;
