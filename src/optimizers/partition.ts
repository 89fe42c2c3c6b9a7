import { withOwnNames } from "./chain.ts";
import { slotAt } from "./optimizer.ts";
import type { GradientTransformation, ParameterSpec, SlotSpec } from "./transformation.ts";

/** A part of the parameters, and the transformation that they get. */
interface Part {
  readonly takes: (parameter: ParameterSpec) => boolean;
  readonly transformation: GradientTransformation;
}

/** Gives each parameter the transformation of the first part that takes it. @throws RangeError if none does */
export function partition(
  name: string,
  options: GradientTransformation["options"],
  parts: readonly Part[],
): GradientTransformation {
  /** For each part the indices of its parameters. */
  const membersOf = (parameters: readonly ParameterSpec[]): number[][] => {
    const members = parts.map((): number[] => []);
    for (const [i, parameter] of parameters.entries()) {
      const at = parts.findIndex(({ takes }) => takes(parameter));
      if (at < 0) throw new RangeError(`the optimizer ${name} has no part for "${parameter.name}"`);
      members[at]?.push(i);
    }
    return members;
  };
  /** For each part its parameters' indices, and where its slots begin in the state. */
  const placed = (parameters: readonly ParameterSpec[]) => {
    let end = 0;
    return membersOf(parameters).map((indices, p) => {
      const { transformation } = parts[p] as Part;
      const own = <T>(list: readonly T[]): T[] => indices.map((i) => slotAt(list, i));
      const specs = transformation.init(own(parameters));
      const from = end;
      end += specs.length;
      return { indices, transformation, own, specs, from, end };
    });
  };
  return {
    ...{ name, options },
    init: (parameters) =>
      withOwnNames(
        placed(parameters).flatMap(({ specs, indices }) =>
          specs.map(
            (spec): SlotSpec => (spec.of === undefined ? spec : { ...spec, of: slotAt(indices, spec.of) }),
          ),
        ),
      ),
    // Parts do not get the momentum that a schedule moves, because it would reach only some of them.
    emit: (g, { parameters, updates, state, momentum: _, ...inputs }) => {
      const next = [...updates];
      const slots = placed(parameters).flatMap(({ indices, transformation, own, from, end }) => {
        const result = transformation.emit(g, {
          ...{ ...inputs, parameters: own(parameters), updates: own(updates), state: state.slice(from, end) },
        });
        for (const [k, i] of indices.entries()) next[i] = slotAt(result.updates, k);
        return result.state;
      });
      return { updates: next, state: slots };
    },
    compute: ({ parameters, updates, state, ...inputs }) => {
      const next = updates.map((update) => [...update]);
      const slots = placed(parameters).flatMap(({ indices, transformation, own, from, end }) => {
        const result = transformation.compute({
          ...{ ...inputs, parameters: own(parameters), updates: own(updates), state: state.slice(from, end) },
        });
        for (const [k, i] of indices.entries()) next[i] = slotAt(result.updates, k);
        return result.state;
      });
      return { updates: next, state: slots };
    },
  };
}
