import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { isMadeHere, madeHere } from "../made-here.ts";
import { checkNumber, count } from "../numbers.ts";
import { chain, withOwnNames } from "./chain.ts";
import { zipped } from "./each-parameter.ts";
import { type Optimizer, slotAt } from "./optimizer.ts";
import { ownCounts } from "./own-count.ts";
import type { GradientTransformation, ParameterSpec, SlotSpec } from "./transformation.ts";
import { lazy, updatesAlong, updatesTo } from "./update.ts";

/**
 * Updates the parameters once in `batches` batches, with the mean of their gradients: training with a batch that does not fit into
 * memory. For a loss that is a mean over samples this is the update of the joint batch; BatchNormalization and penalties on
 * responses still see one batch at a time. One more slot, `accumulated`.
 *
 * A step of a run stays one batch: events, `maxSteps` and schedules count batches, and the learning rate of an update is that of its
 * last batch. What is left of a mean when training ends is not used.
 *
 * @param batches - for one update: a whole number from 1
 * @param members - the optimizer, or the members of a chain, that see the mean
 * @throws UsageError for another number
 * @example
 * accumulate(4, clipByGlobalNorm(1), adamw());
 */
export function accumulate(batches: number, ...members: readonly Optimizer[]): GradientTransformation {
  checkNumber("the number of batches for one update", batches, count);
  const inner = chain(...members);
  /** The parameters as the inner transformation sees them: it counts one update for `batches` batches. */
  const counted = <P extends ParameterSpec>(parameters: readonly P[]): P[] =>
    parameters.map((one) => (one.idle ? { ...one, idle: Math.floor(one.idle / batches) } : one));
  const whole: GradientTransformation = {
    ...{ name: "accumulate", options: { batches }, inner },
    ...(inner.treatment && { treatment: inner.treatment }),
    init: (parameters) =>
      withOwnNames([
        ...parameters.map(
          ({ type, shape }, of): SlotSpec => ({ name: "accumulated", of, type, shape, start: 0 }),
        ),
        ...inner.init(counted(parameters)),
      ]),
    emit: (g, { parameters, updates, state, step, ...inputs }) => {
      const [sums, own] = [state.slice(0, updates.length), state.slice(updates.length)];
      const means = updates.map((update, i) =>
        lazy(() => g.add(sums[i] as Typed, g.mul(update.value(), 1 / batches))),
      );
      const result = inner.emit(g, {
        ...{ ...inputs, parameters: counted(parameters), state: own },
        updates: updatesAlong(g, updates, (i) => slotAt(means, i)()),
        // A whole number at the last batch of an update; at other batches it is not used.
        step: ownCounts(g, (type) =>
          g.once(`updates of ${batches} ${type} ${step(type).name}`, () => g.div(step(type), batches)),
        ),
      });
      const due = (type: Typed["type"]) => isDue(g, step(type), batches);
      const chosen = (next: Typed, before: Typed): Typed => {
        const { now, later } = due(before.type);
        return g.add(g.mul(next, now()), g.mul(before, later()));
      };
      return {
        updates: updatesTo(g, updates, (i, before) => chosen(slotAt(result.updates, i).next(), before)),
        state: [
          ...means.map((mean) => () => g.mul(mean(), due(mean().type).later())),
          ...result.state.map((next, i) => () => chosen(next(), own[i] as Typed)),
        ],
      };
    },
    compute: ({ parameters, updates, state, step, ...inputs }) => {
      const [sums, own] = [state.slice(0, updates.length), state.slice(updates.length)];
      const means = updates.map((update, i) => zipped(sums[i] ?? [], update, (sum, u) => sum + u / batches));
      if (step % batches !== 0) {
        const rest = own.map((slot) => [...slot]);
        return { updates: updates.map((update) => update.map(() => 0)), state: [...means, ...rest] };
      }
      const result = inner.compute({
        ...{ ...inputs, parameters: counted(parameters), updates: means, state: own, step: step / batches },
      });
      return { updates: result.updates, state: [...means.map((mean) => mean.map(() => 0)), ...result.state] };
    },
  };
  return isMadeHere(inner) ? madeHere(whole) : whole;
}

/** An optimizer with one more member at its end, once for each update: batches before an update leave the weights as they are. */
export function afterEachUpdate(
  optimizer: GradientTransformation,
  member: GradientTransformation,
): GradientTransformation {
  const { inner, name, options } = optimizer;
  if (inner && name === "accumulate") return accumulate(Number(options.batches), chain(inner, member));
  return chain(optimizer, member);
}

/** 1 and 0 at the last batch of an update, 0 and 1 before: factors, since a choice by Where takes ONNX Runtime longer. */
function isDue(g: Emit, step: Typed, batches: number): { now: () => Typed; later: () => Typed } {
  const now = () =>
    g.once(`due ${batches} ${step.name}`, () => {
      const whole = g.mul(g.floor(g.div(step, batches)), batches);
      return g.indicator(g.equal(whole, step), step.type);
    });
  return { now, later: () => g.once(`later ${batches} ${step.name}`, () => g.sub(1, now())) };
}
