import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { divisor, type NumberRange, notNegative, positive } from "../numbers.ts";
import { elementCount } from "../onnx/tensor.ts";
import { defineOptimizer, defineTransformation } from "./define.ts";
import { zipped } from "./each-parameter.ts";
import { slotAt } from "./optimizer.ts";
import { ownCount } from "./own-count.ts";
import type { ParameterSpec, SlotSpec } from "./transformation.ts";
import { decayWeights } from "./transformations/weight-decay.ts";
import { lazy, type Update, updatesAlong } from "./update.ts";

const exponent: NumberRange = {
  words: "a number of at least −1 and below 0",
  holds: (value) => value >= -1 && value < 0,
};

const defaults = {
  /** c of the share t^c of the new square in the running mean. */
  beta2Decay: -0.8,
  /** The least size of a parameter, relative to which a step is measured. */
  leastSize: 1e-3,
  /** An update whose root mean square is above this is scaled down to it. */
  clip: 1,
};
const ranges = { beta2Decay: exponent, leastSize: positive, clip: divisor };

/** float32's and float64's resolution: below it a root mean square counts as this. */
const resolution = (type: Typed["type"]): number => (type === "double" ? 2 ** -52 : 2 ** -23);

/** The slots of a parameter: means of squares by row and by column of its last two axes, or of each number. */
const slotsOf = ({ type, shape }: ParameterSpec, of: number): SlotSpec[] => {
  const slot = (name: string, own: readonly number[]): SlotSpec => ({ name, of, type, shape: own, start: 0 });
  if (shape.length < 2) return [slot("v", shape)];
  return [
    slot("v_row", [...shape.slice(0, -1), 1]),
    slot("v_column", [...shape.slice(0, -2), 1, shape.at(-1) ?? 1]),
  ];
};

/**
 * Adafactor's update (arXiv 1804.04235), as torch.optim.Adafactor. A matrix keeps means of its squared gradient by row and by column
 * in place of a second moment: slots `v_row` and `v_column` of the last two axes, and `v` for a vector.
 *
 *     v̂ = v_row·v_column / mean(v_row)      u ← g/max(√v̂, ε), scaled down where its root mean square is above `clip`
 *     update = max(leastSize, rms(w)) · min(lr, 1/√t) · u
 */
export const scaleByFactoredRms = defineTransformation(
  {
    name: "scale-by-factored-rms",
    title: "Adafactor's update",
    summary:
      "divides updates by means of squares that are kept by row and by column, and takes the learning rate in",
    ...{ defaults, ranges },
  },
  ({ beta2Decay, leastSize, clip }, own) => ({
    ...own,
    init: (parameters) => parameters.flatMap(slotsOf),
    emit: (g, { parameters, updates, state, learningRate, step }) => {
      let next = 0;
      const each = updates.map((update, i) => {
        const spec = parameters[i] as ParameterSpec;
        const { length } = slotsOf(spec, i);
        const slots = state.slice(next, next + length);
        next += length;
        return lazy(() =>
          emitOne(g, update, slots, {
            share: g.once(`adafactor share ${beta2Decay} ${step(spec).name}`, () =>
              g.exp(g.mul(g.log(step(spec)), beta2Decay)),
            ),
            rate: g.once(`adafactor rate ${learningRate(spec).name} ${step(spec).name}`, () =>
              g.min(learningRate(spec), g.reciprocal(g.sqrt(step(spec)))),
            ),
            ...{ leastSize, clip },
          }),
        );
      });
      return {
        updates: updatesAlong(g, updates, (i) => slotAt(each, i)().direction()),
        state: each.flatMap((one, i) =>
          slotsOf(parameters[i] as ParameterSpec, i).map((_, k) => () => slotAt(one().slots, k)),
        ),
      };
    },
    compute: ({ parameters, updates, state, learningRate, step }) => {
      let next = 0;
      const results = updates.map((update, i) => {
        const parameter = parameters[i] as (typeof parameters)[number];
        const own = ownCount(step, parameter);
        const [share, rate] = [own ** beta2Decay, Math.min(learningRate, 1 / Math.sqrt(own))];
        const { length } = slotsOf(parameter, i);
        const slots = state.slice(next, next + length);
        next += length;
        const { squares, slots: after } = squaresOf(parameter, update, slots, share);
        const least = resolution(parameter.type) ** 2;
        const direction = zipped(update, squares, (u, square) => u / Math.sqrt(Math.max(square, least)));
        const rms = (values: readonly number[]) => Math.hypot(...values) / Math.sqrt(values.length);
        const size = Math.max(leastSize, rms(parameter.values)) * rate;
        const factor = size / Math.max(1, rms(direction) / clip);
        return { update: direction.map((u) => u * factor), slots: after };
      });
      return {
        updates: results.map((one) => one.update),
        state: results.flatMap((one) => one.slots),
      };
    },
  }),
);

/** The update and the next slots of one parameter. */
function emitOne(
  g: Emit,
  update: Update,
  slots: readonly Typed[],
  { share, rate, leastSize, clip }: { share: Typed; rate: Typed; leastSize: number; clip: number },
): { direction: () => Typed; slots: readonly Typed[] } {
  const slope = update.value();
  const square = g.square(slope);
  const mixed = (before: Typed, now: Typed) => g.add(before, g.mul(g.sub(now, before), share));
  const least = resolution(slope.type);
  const factored = slots.length === 2;
  const next = factored
    ? [
        mixed(slotAt(slots, 0), g.reduceMean(square, [-1], true)),
        mixed(slotAt(slots, 1), g.reduceMean(square, [-2], true)),
      ]
    : [mixed(slotAt(slots, 0), square)];
  const rms = (value: Typed) => g.sqrt(g.reduceMean(g.square(value)));
  const direction = lazy(() => {
    const first = slotAt(next, 0);
    const squares = factored
      ? g.div(g.mul(first, slotAt(next, 1)), g.max(g.reduceMean(first, [-2], true), least))
      : first;
    const unit = g.div(slope, g.sqrt(g.max(squares, least ** 2)));
    const size = g.mul(g.max(rms(update.parameter), leastSize), rate);
    return g.mul(unit, g.div(size, g.max(g.mul(rms(unit), 1 / clip), 1)));
  });
  return { direction, slots: next };
}

/** The estimate of the squared update in float64, and the next slots. */
function squaresOf(
  { shape, type }: ParameterSpec,
  update: readonly number[],
  slots: readonly (readonly number[])[],
  share: number,
): { squares: number[]; slots: number[][] } {
  const mixed = (before: readonly number[], now: readonly number[]) =>
    zipped(before, now, (a, b) => a + (b - a) * share);
  if (shape.length < 2) {
    const next = mixed(
      slotAt(slots, 0),
      update.map((u) => u * u),
    );
    return { squares: next, slots: [next] };
  }
  const [rows, columns] = shape.slice(-2) as [number, number];
  const matrices = elementCount(shape.slice(0, -2));
  const rowMeans = new Array<number>(matrices * rows).fill(0);
  const columnMeans = new Array<number>(matrices * columns).fill(0);
  const places = update.map((_, i) => {
    const matrix = Math.floor(i / (rows * columns));
    const row = matrix * rows + (Math.floor(i / columns) % rows);
    return { matrix, row, column: matrix * columns + (i % columns) };
  });
  for (const [i, { row, column }] of places.entries()) {
    const square = (update[i] ?? 0) ** 2;
    rowMeans[row] = (rowMeans[row] ?? 0) + square / columns;
    columnMeans[column] = (columnMeans[column] ?? 0) + square / rows;
  }
  const [byRow, byColumn] = [mixed(slotAt(slots, 0), rowMeans), mixed(slotAt(slots, 1), columnMeans)];
  const means = Array.from({ length: matrices }, (_, matrix) => {
    const own = byRow.slice(matrix * rows, (matrix + 1) * rows);
    return Math.max(own.reduce((a, b) => a + b, 0) / rows, resolution(type));
  });
  const squares = places.map(
    ({ matrix, row, column }) => ((byRow[row] ?? 0) * (byColumn[column] ?? 0)) / (means[matrix] ?? 1),
  );
  return { squares, slots: [byRow, byColumn] };
}

/**
 * Adafactor (arXiv 1804.04235), as torch.optim.Adafactor: second moments by row and by column, so that a matrix keeps a vector of
 * each in place of a tensor of its own size; steps relative to the size of the parameter.
 *
 * @throws UsageError for an unknown option or a value out of range.
 * @example
 * await Trainer.create(model, { objective: crossEntropy(), optimizer: adafactor(), learningRate: 0.01 });
 */
export const adafactor = defineOptimizer(
  {
    name: "adafactor",
    title: "Adafactor",
    summary: "second moments kept by row and column, little memory, as torch.optim.Adafactor",
    defaults: {
      ...defaults,
      /** λ of w ← w − lr·λ·w. */
      weightDecay: 0,
    },
    ranges: { ...ranges, weightDecay: notNegative },
  },
  ({ weightDecay, ...means }) => [scaleByFactoredRms(means), decayWeights(weightDecay)],
);
