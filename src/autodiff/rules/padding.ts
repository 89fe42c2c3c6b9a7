import { SorthError } from "../../errors.ts";
import { ints, string } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { allAxes, dimAt, normalizeAxis, sameShape } from "../../graph/shapes.ts";
import { checkStored } from "../../graph/stored-lists.ts";
import type { RuleContext, RuleTable, Sample } from "../rule.ts";

/** Padding of every axis: all beginnings, then all ends. A negative number crops. */
function padsOf(context: RuleContext): number[] {
  const rank = context.input(0).shape.length;
  const axes = (context.constant(3) ?? allAxes(rank)).map((axis) => normalizeAxis(axis, rank));
  const given = context.constant(1) ?? [];
  const pads = new Array<number>(2 * rank).fill(0);
  axes.forEach((axis, index) => {
    pads[axis] = given[index] ?? 0;
    pads[axis + rank] = given[index + axes.length] ?? 0;
  });
  return pads;
}

const negated = (pads: readonly number[]) => pads.map((pad) => -pad);

/** For each element of a padded axis, the index of the element that it copies (of `length`). Crops come before padding. */
function sources(mode: string, length: number, begin: number, end: number): number[] {
  const first = Math.max(0, -begin);
  const kept = length - first - Math.max(0, -end);
  const inside = (at: number): number => {
    if (mode === "wrap") return ((at % kept) + kept) % kept;
    if (mode === "edge") return Math.min(Math.max(at, 0), kept - 1);
    return at < 0 ? -at : at < kept ? at : 2 * (kept - 1) - at;
  };
  checkStored(length + begin + end);
  return Array.from({ length: length + begin + end }, (_, i) => first + inside(i - Math.max(0, begin)));
}

/** Adjacent elements of a padded axis that copy adjacent elements (step 1; mirrored: −1) or one element (step 0). */
interface Run {
  readonly start: number;
  readonly length: number;
  /** Index of the first copied element. */
  readonly low: number;
  readonly step: number;
}

function runsOf(from: readonly number[]): Run[] {
  const runs: Run[] = [];
  for (let start = 0; start < from.length; ) {
    const [first, second] = [from[start] as number, from[start + 1]];
    const step = second === undefined || Math.abs(second - first) > 1 ? 1 : second - first;
    let length = 1;
    while (from[start + length] === first + step * length) length++;
    runs.push({ start, length, low: step < 0 ? first - (length - 1) : first, step });
    start += length;
  }
  return runs;
}

/**
 * The adjoint of copying along an axis: element i of the result is the sum of all `dy[j]` with `from[j] = i`. The axis is
 * cut where runs of copies begin and end; each part is the sum of the slices of `dy` that copy it.
 */
function sumCopies(g: Emit, dy: Typed, axis: number, from: readonly number[], length: number): Typed {
  const runs = runsOf(from).map((run) => ({ ...run, end: run.low + (run.step === 0 ? 1 : run.length) }));
  const cuts = [...new Set([0, length, ...runs.flatMap(({ low, end }) => [low, end])])].sort((a, b) => a - b);
  const parts = cuts.slice(1).map((end, index) => {
    const low = cuts[index] as number;
    const copies = runs
      .filter((run) => run.low <= low && end <= run.end)
      .map((run) => {
        if (run.step === 0) {
          return g.reduceSum(g.slice(dy, [{ axis, start: run.start, length: run.length }]), [axis], true);
        }
        const start = run.start + (run.step > 0 ? low - run.low : run.end - 1 - low);
        return g.slice(dy, [{ axis, start, length: end - low, step: run.step }]);
      });
    if (copies.length > 0) return copies.reduce((sum, copy) => g.add(sum, copy));
    return g.filled(
      0,
      dy.shape.map((dim, i) => (i === axis ? end - low : dim)),
      dy.type,
    );
  });
  return g.concat(parts, axis);
}

function gradientOfInput(context: RuleContext, dy: Typed, g: Emit): Typed {
  const mode = context.node.string("mode", "constant");
  const { shape } = context.input(0);
  const pads = padsOf(context);
  if (mode === "constant") return g.pad(dy, negated(pads));
  return allAxes(shape.length).reduce((gradient, axis) => {
    const [begin, end] = [dimAt(pads, axis), dimAt(pads, axis + shape.length)];
    if (begin === 0 && end === 0) return gradient;
    const length = dimAt(shape, axis);
    if (mode === "wrap" && begin > length + Math.min(0, end)) {
      throw new SorthError(
        `cannot differentiate Pad (node "${context.node.label}"): it wraps axis ${axis} more than once around its ` +
          `beginning (${begin} elements of ${length}), where ONNX Runtime 1.30 leaves values undefined; pad in two nodes`,
      );
    }
    return sumCopies(g, gradient, axis, sources(mode, length, begin, end), length);
  }, dy);
}

/** Σ dy over the border. Masks the inside rather than subtracting its sum, which may be much larger than the border's. */
function gradientOfValue(context: RuleContext, dy: Typed, g: Emit): Typed {
  const { shape, type } = context.input(0);
  const outside = g.pad(g.filled(0, shape, type), padsOf(context), 1);
  return g.reduceSum(g.mul(dy, outside));
}

const vector = (...values: number[]) => ({ shape: [values.length], constant: values });
const padded = (mode: string, ...cases: [shape: number[], pads: number[], note: string][]): Sample[] =>
  cases.map(([shape, pads, note]) => ({
    inputs: [shape, vector(...pads)],
    attributes: { mode: string(mode) },
    opset: 19,
    note,
  }));
const borders = (mode: string): Sample[] =>
  padded(
    mode,
    [[2, 3, 4, 5], [0, 0, 1, 1, 0, 0, 1, 1], "image"],
    [[4], [3, 3], "1-D, full"],
    [[5, 2], [0, 0, 4, 0], "end alone"],
    [[5], [-1, 3], "cropped and padded"],
    [[6, 2], [2, 0, -3, -1], "padded and cropped"],
    [[5], [-1, -2], "cropped"],
    [[1, 2, 3, 2, 3], [0, 0, 2, 1, 0, 0, 0, 1, 1, 2], "5-D"],
  );

/** How CenterCropPad changes one axis, as padding at its beginning and end; a negative number crops. */
export function centered(from: number, to: number): [number, number] {
  const [less, more] = [Math.floor(Math.abs(to - from) / 2), Math.ceil(Math.abs(to - from) / 2)];
  return to >= from ? [less, more] : [-less, -more];
}

export const padding = {
  // Each element gets the sum of dy over its copies; the constant value gets the sum over the border.
  Pad: {
    vjp: (context, dy, g) => [
      () => gradientOfInput(context, dy, g),
      null,
      () => gradientOfValue(context, dy, g),
      null,
    ],
    samples: [
      { inputs: [[2, 3], vector(0, 1, 2, 0)] },
      { inputs: [[2, 3], vector(0, -1, 1, 0)], note: "cropped" },
      { inputs: [[2, 3], vector(1, 2), [], vector(1)], note: "value, axes" },
      { inputs: [[4, 3, 2], vector(1, -1, 2, -1), [], vector(-3, 1)], note: "value, negative axes, mixed" },
      { inputs: [[2, 3], vector(0, 1, 1, 0)], attributes: { mode: string("constant") }, opset: 13 },
      { inputs: [[0, 3], vector(1, 1, 1, 0), []], note: "nothing but border" },
      {
        inputs: [[3, 4], vector(2, 1), null, { shape: [1], constant: [-1] }],
        attributes: { mode: string("reflect") },
        opset: 25,
        note: "axes",
      },
      ...borders("reflect"),
      ...borders("edge"),
      ...borders("wrap"),
      ...padded("edge", [[3], [5, 4], "far"]),
      ...padded("wrap", [[3], [3, 8], "several times round"], [[4], [-2, 5], "crop and wrap"]),
    ],
    linear: true,
  },

  // The gradient crops what was padded and pads what was cropped with zeros.
  CenterCropPad: {
    vjp: (context, dy, g) => [
      () => {
        const { shape } = context.input(0);
        const pads = shape.map((dim, axis) => centered(dim, dimAt(dy.shape, axis)));
        if (sameShape(shape, dy.shape)) return dy;
        return g.pad(dy, negated([...pads.map(([begin]) => begin), ...pads.map(([, end]) => end)]));
      },
      null,
    ],
    samples: [
      { inputs: [[5, 8, 3], vector(10, 9, 3)], note: "padded" },
      { inputs: [[6, 7, 3], vector(3, 3, 3)], note: "cropped" },
      { inputs: [[6, 7, 3], vector(9, 4)], attributes: { axes: ints([0, 1]) }, note: "mixed" },
      { inputs: [[2, 5, 4], vector(2, 9)], attributes: { axes: ints([-2, -1]) }, note: "negative axes" },
      { inputs: [[4], vector(4)], note: "as it was" },
    ],
    linear: true,
  },
} satisfies RuleTable;
