import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { aboveOne, count, type NumberRange, positive, properShare } from "../numbers.ts";
import { withOwnNames } from "./chain.ts";
import { slotAt } from "./optimizer.ts";
import type { GradientTransformation, ParameterSpec, SlotSpec } from "./transformation.ts";
import { inType, lazy, updatesAlong, updatesTo } from "./update.ts";

/** Options of dynamic loss scaling, under the names and with the defaults of torch.amp.GradScaler. */
export const lossScaleDefaults = {
  /** The scale of the first step. */
  initScale: 65536,
  /** Factor of the scale after {@link growthInterval} updates in a row. */
  growthFactor: 2,
  /** Factor of the scale after an update that was left out. */
  backoffFactor: 0.5,
  /** Updates in a row after which the scale grows. */
  growthInterval: 2000,
};
export type LossScaleOptions = typeof lossScaleDefaults;

/** What each option accepts. */
export const lossScaleRanges: { readonly [K in keyof LossScaleOptions]: NumberRange } = {
  initScale: positive,
  growthFactor: aboveOne,
  backoffFactor: properShare,
  growthInterval: count,
};

/** The largest power of two in float32: the scale grows no further. */
const mostScale = 2 ** 127;

/** The states that scaling keeps, which belong to no parameter. */
export const lossScaleSlots = { scale: "loss_scale", good: "good_steps", skipped: "skipped_steps" } as const;

/** The numbers of steps that parameters of groups wait. */
const waitsOf = (parameters: readonly ParameterSpec[]): number[] => [
  ...new Set(parameters.flatMap(({ idle }) => idle || [])),
];

/**
 * Divides gradients of a scaled loss by the scale before an optimizer reads them, and adapts the scale as torch.amp.GradScaler
 * does. If any gradient is not finite, the update is left out: parameters and the optimizer's state keep their numbers, its
 * count of updates too, and the scale shrinks.
 *
 * States: `loss_scale`, by which the loss of this step was multiplied; `good_steps`, updates in a row since the scale last
 * changed; `skipped_steps`, how many updates were left out, and for each group that waits `skipped_while_waiting`, how many of
 * them before its parameters are trained.
 */
export function scaleLoss(options: LossScaleOptions, inner: GradientTransformation): GradientTransformation {
  const { initScale, growthFactor, backoffFactor, growthInterval } = options;
  const ofRun = (name: string, start: number): SlotSpec => ({
    ...{ name, of: undefined, type: "float", shape: [], start },
  });
  return {
    ...{ name: "loss-scale", options, inner },
    ...(inner.treatment && { treatment: inner.treatment }),
    init: (parameters) =>
      withOwnNames([
        ofRun(lossScaleSlots.scale, initScale),
        ofRun(lossScaleSlots.good, 0),
        ofRun(lossScaleSlots.skipped, 0),
        ...waitsOf(parameters).map(() => ofRun("skipped_while_waiting", 0)),
        ...inner.init(parameters),
      ]),
    emit: (g, { parameters, updates, state, step, ...inputs }) => {
      const waits = waitsOf(parameters);
      const [scale, good, skipped, ...rest] = state as [Typed, Typed, Typed, ...Typed[]];
      const [waited, own] = [rest.slice(0, waits.length), rest.slice(waits.length)];
      const inverse = lazy(() => g.reciprocal(scale));
      const unscaled = updates.map((update) =>
        lazy(() => g.mul(update.value(), inType(g, inverse(), update.parameter.type))),
      );
      const finite = lazy(() =>
        allFinite(
          g,
          unscaled.map((gradient) => gradient()),
        ),
      );
      const chosen = (next: Typed, before: Typed) => g.where(finite(), next, before);
      const result = inner.emit(g, {
        ...{ ...inputs, parameters, state: own },
        updates: updatesAlong(g, updates, (i) => slotAt(unscaled, i)()),
        // Left-out updates do not count.
        step: (of) => {
          const { type, idle = 0 } = typeof of === "string" ? { type: of } : of;
          return g.once(`updates ${type} ${idle} ${step(type).name}`, () => {
            const before = waited[waits.indexOf(idle)];
            const left = before ? g.sub(skipped, before) : skipped;
            const counted = g.sub(step(type), inType(g, left, type));
            return before ? g.max(g.sub(counted, idle), 1) : counted;
          });
        },
      });
      const skippedNext = lazy(() => chosen(skipped, g.add(skipped, 1)));
      const counted = lazy(() => g.add(good, 1));
      const due = lazy(() => g.greaterOrEqual(counted(), growthInterval));
      const grown = () => g.where(due(), g.min(g.mul(scale, growthFactor), mostScale), scale);
      return {
        updates: updatesTo(g, updates, (i, before) => chosen(slotAt(result.updates, i).next(), before)),
        state: [
          () => chosen(grown(), g.mul(scale, backoffFactor)),
          () => chosen(g.where(due(), 0, counted()), g.scalar(0)),
          skippedNext,
          ...waits.map((idle, i) => () => {
            const before = waited[i] as Typed;
            return g.where(g.greater(step("float"), idle), before, skippedNext());
          }),
          ...result.state.map((next, i) => () => chosen(next(), own[i] as Typed)),
        ],
      };
    },
    compute: ({ parameters, updates, state, step, ...inputs }) => {
      const waits = waitsOf(parameters);
      const [[scale = 1] = [], [good = 0] = [], [skipped = 0] = [], ...rest] = state;
      const own = rest.slice(waits.length);
      const waited = (now: number) => waits.map((idle, i) => [step > idle ? (rest[i]?.[0] ?? 0) : now]);
      const unscaled = updates.map((update) => update.map((value) => value / scale));
      if (!unscaled.flat().every(Number.isFinite)) {
        return {
          updates: updates.map((update) => update.map(() => 0)),
          state: [
            ...[[scale * backoffFactor], [0], [skipped + 1], ...waited(skipped + 1)],
            ...own.map((slot) => [...slot]),
          ],
        };
      }
      const result = inner.compute({
        ...{ ...inputs, updates: unscaled, state: own, step: step - skipped },
        parameters: parameters.map((one) => {
          const left = rest[waits.indexOf(one.idle ?? 0)]?.[0] ?? 0;
          return one.idle ? { ...one, idle: one.idle - left } : one;
        }),
      });
      const due = good + 1 >= growthInterval;
      const next = due ? Math.min(scale * growthFactor, mostScale) : scale;
      return {
        updates: result.updates,
        state: [[next], [due ? 0 : good + 1], [skipped], ...waited(skipped), ...result.state],
      };
    },
  };
}

/** Whether every number of some tensors is finite: 0 times a number is 0 for finite ones alone. */
function allFinite(g: Emit, tensors: readonly Typed[]): Typed {
  const sums = tensors.map((tensor) => g.cast(g.reduceSum(g.mul(tensor, 0)), "float"));
  return g.equal(
    sums.reduce((a, b) => g.add(a, b)),
    0,
  );
}

/** The running statistics of a forward pass that overflowed are not kept: they would never be finite again. */
export const keepFinite = (g: Emit, next: Typed, before: Typed): Typed =>
  g.where(allFinite(g, [next]), next, before);
