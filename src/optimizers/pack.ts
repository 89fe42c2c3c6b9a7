import { int } from "../graph/attribute.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { sameShape } from "../graph/shapes.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { GradientTransformation, ParameterSpec, SlotSpec } from "./transformation.ts";
import { lazy, Update } from "./update.ts";

/**
 * The same optimizer, which lays small parameters that it treats alike end to end and updates them as one tensor: a hundred biases
 * and norms cost the nodes of one. Slots stay those of each parameter.
 *
 * @param most - numbers of a parameter that counts as small
 * @returns the optimizer itself if it does not say which parameters it treats alike ({@link GradientTransformation.treatment})
 */
export function packSmall(optimizer: GradientTransformation, most: number): GradientTransformation {
  const { treatment } = optimizer;
  if (!treatment) return optimizer;
  const { name, options } = optimizer;
  return {
    ...{ ...optimizer, name, options, treatment },
    init: (parameters) => optimizer.init(parameters),
    compute: (inputs) => optimizer.compute(inputs),
    emit: (g, { parameters, updates, state, ...scalars }) => {
      const slots = optimizer.init(parameters);
      const packs = packsOf(parameters, slots, treatment, most);
      const specs = packs.map(({ members }) => packedSpec(members.map((i) => at(parameters, i))));
      /** A tensor of each pack, from one of each of its members. */
      const joined = (pack: number, values: readonly Typed[]): Typed => {
        const { members } = at(packs, pack);
        if (members.length === 1) return at(values, 0);
        return g.concat(
          values.map((value) => g.reshape(value, [elementCount(value.shape)])),
          0,
        );
      };
      const packedSlots = optimizer.init(specs);
      const sources = packedSlots.map(({ of }, index) => ownSlots(slots, packs, packedSlots, of, index));
      const result = optimizer.emit(g, {
        ...{ ...scalars, parameters: specs },
        updates: packs.map(({ members }, pack) => {
          const own = members.map((i) => at(updates, i));
          if (own.length === 1) return at(own, 0);
          const parameter = joined(
            pack,
            own.map((update) => update.parameter),
          );
          const direction = () =>
            joined(
              pack,
              own.map((update) => update.value()),
            );
          return new Update(g, parameter, () => ({ direction }));
        }),
        state: packedSlots.map(({ of }, index) => {
          const own = at(sources, index).map((slot) => at(state, slot));
          return of === undefined ? at(own, 0) : joined(of, own);
        }),
      });
      const nextUpdates: Update[] = [];
      const nextState: (() => Typed)[] = [];
      for (const [pack, { members }] of packs.entries()) {
        const whole = at(result.updates, pack);
        const pieces = piecesOf(
          g,
          members.map((i) => at(updates, i).parameter),
          () => whole.next(),
        );
        for (const [k, i] of members.entries()) {
          const { parameter } = at(updates, i);
          nextUpdates[i] =
            members.length === 1 ? whole : new Update(g, parameter, () => ({ next: at(pieces, k) }));
        }
      }
      for (const [index, own] of sources.entries()) {
        const before = own.map((slot) => at(state, slot));
        const pieces = piecesOf(g, before, at(result.state, index));
        for (const [k, slot] of own.entries()) nextState[slot] = at(pieces, k);
      }
      return { updates: nextUpdates, state: nextState };
    },
  };
}

/** Parameters that are updated as one tensor. */
interface Pack {
  /** Their indices. */
  readonly members: readonly number[];
}

/** Every parameter in a pack: with others of the same treatment if it is small and all its slots have its shape, else alone. */
function packsOf(
  parameters: readonly ParameterSpec[],
  slots: readonly SlotSpec[],
  treatment: (parameter: ParameterSpec) => string | undefined,
  most: number,
): Pack[] {
  const packs = new Map<string, number[]>();
  for (const [i, parameter] of parameters.entries()) {
    const { type, shape, rate, idle, weightDecay } = parameter;
    const own = slots.filter(({ of }) => of === i);
    const alike = own.every((slot) => slot.type === type && sameShape(slot.shape, shape));
    const treated = alike && elementCount(shape) <= most ? treatment(parameter) : undefined;
    const key = treated === undefined ? `alone ${i}` : `${[type, rate, idle, weightDecay]} ${treated}`;
    packs.set(key, [...(packs.get(key) ?? []), i]);
  }
  return [...packs.values()].map((members) => ({ members }));
}

/** The parameter that a pack is for the optimizer. */
function packedSpec(members: readonly ParameterSpec[]): ParameterSpec {
  const first = at(members, 0);
  if (members.length === 1) return first;
  const length = members.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  return { ...first, shape: [length] };
}

/** The slots that a packed slot is made of: the one of the same rank among those of each member, or the one of the run. */
function ownSlots(
  slots: readonly SlotSpec[],
  packs: readonly Pack[],
  packedSlots: readonly SlotSpec[],
  of: number | undefined,
  index: number,
): number[] {
  const rank = packedSlots.slice(0, index).filter((slot) => slot.of === of).length;
  const owners = of === undefined ? [undefined] : at(packs, of).members;
  return owners.map((owner) => {
    const own = slots.flatMap((slot, i) => (slot.of === owner ? [i] : []));
    return at(own, rank);
  });
}

/** Cuts a tensor into pieces of the shapes of others, on first use. */
function piecesOf(g: Emit, like: readonly Typed[], whole: () => Typed): (() => Typed)[] {
  if (like.length === 1) return [whole];
  const lengths = like.map(({ shape }) => elementCount(shape));
  // One node, however many pieces: WebGPU, where a node has few outputs, packs nothing.
  const split = lazy(() => {
    const from = whole();
    const outputs = lengths.map((length) => ({ type: from.type, shape: [length] }));
    return g.multi("Split", [from, g.int64s(lengths)], outputs, { attributes: { axis: int(0) } });
  });
  return like.map(({ shape }, i) => lazy(() => g.reshape(at(split(), i), shape)));
}

/** The element at an index that is known to exist. */
function at<T>(list: readonly T[], index: number): T {
  if (index >= list.length) throw new RangeError(`nothing at ${index} of ${list.length}`);
  return list[index] as T;
}
