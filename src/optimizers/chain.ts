import { isMadeHere, madeHere } from "../made-here.ts";
import { type Optimizer, transformationOf } from "./optimizer.ts";
import type { GradientTransformation, OptimizerOptions, SlotSpec } from "./transformation.ts";

/**
 * Gradient transformations in sequence: each changes the updates of the one before, and those of the last one are subtracted
 * from the parameters.
 *
 * @example
 * chain(clipByGlobalNorm(1), adamw());
 * chain(addDecayedWeights(0.01), momentum(0.9), scaleByLearningRate()); // SGD with momentum
 */
export function chain(...members: readonly Optimizer[]): GradientTransformation {
  const parts = members.map(transformationOf).flatMap((part) => part.parts ?? [part]);
  const whole = inARow(parts.map(({ name }) => name).join(", ") || "none", {}, parts);
  const made = { ...whole, parts };
  return parts.every(isMadeHere) ? madeHere(made) : made;
}

/** A chain with its own name and options, from which it can be made again. */
export const namedChain = (
  name: string,
  options: OptimizerOptions,
  parts: readonly GradientTransformation[],
): GradientTransformation => madeHere(inARow(name, options, parts));

function inARow(
  name: string,
  options: OptimizerOptions,
  parts: readonly GradientTransformation[],
): GradientTransformation {
  /** Each member, with where its slots begin in the state of the chain. */
  const placed = (lengthOf: (part: GradientTransformation) => number) => {
    let end = 0;
    return parts.map((part) => {
      const from = end;
      end += lengthOf(part);
      return { part, from, end };
    });
  };
  const anyOrder = parts.every(({ treatment }) => treatment !== undefined);
  return {
    name,
    options,
    ...(anyOrder && { treatment: (parameter) => joined(parts.map((part) => part.treatment?.(parameter))) }),
    init: (parameters) => withOwnNames(parts.flatMap((part) => part.init(parameters))),
    emit: (g, { updates, state, ...inputs }) => {
      const next: ReturnType<GradientTransformation["emit"]>["state"][number][] = [];
      let current = updates;
      for (const { part, from, end } of placed(({ init }) => init(inputs.parameters).length)) {
        const result = part.emit(g, { ...inputs, updates: current, state: state.slice(from, end) });
        current = result.updates;
        next.push(...result.state);
      }
      return { updates: current, state: next };
    },
    compute: ({ updates, state, ...inputs }) => {
      const next: number[][] = [];
      let current = updates.map((update) => [...update]);
      for (const { part, from, end } of placed(({ init }) => init(inputs.parameters).length)) {
        const result = part.compute({ ...inputs, updates: current, state: state.slice(from, end) });
        current = result.updates;
        next.push(...result.state);
      }
      return { updates: current, state: next };
    },
  };
}

/** One text for the treatment by several members; undefined if one of them needs the parameter alone. */
const joined = (treatments: readonly (string | undefined)[]): string | undefined =>
  treatments.includes(undefined) ? undefined : treatments.join();

/** Slots with unique names for each parameter: the second `m` becomes `m.2`. */
export function withOwnNames(slots: readonly SlotSpec[]): SlotSpec[] {
  const counts = new Map<string, number>();
  return slots.map((slot) => {
    const key = `${slot.of ?? ""} ${slot.name}`;
    const count = (counts.get(key) ?? 0) + 1;
    counts.set(key, count);
    return count === 1 ? slot : { ...slot, name: `${slot.name}.${count}` };
  });
}
