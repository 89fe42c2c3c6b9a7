import type { Node, Value } from "../graph/node.ts";
import { elementCount } from "../onnx/tensor.ts";

/** An input of a model and the axis that counts its samples. */
export interface BatchAxis {
  readonly input: Value;
  readonly axis: number;
}

/** Where a tensor's numbers count samples: an axis, of which that many numbers lie in front of the samples. */
interface Place {
  readonly axis: number;
  readonly lead: number;
}

const product = (shape: readonly number[]): number => elementCount(shape);

/** Follows the samples through a graph, operator by operator, with the shapes at one sample. */
export class Places {
  readonly #places = new Map<Value, Place>();

  constructor(inputs: readonly BatchAxis[]) {
    for (const { input, axis } of inputs) this.set(input, { axis, lead: 1 });
  }

  set(value: Value, place: Place): void {
    this.#places.set(value, place);
  }

  /** Where a value counts samples, if that was not lost on the way. */
  known(value: Value): Place | undefined {
    return this.#places.get(value);
  }

  /** Where a value counts samples; if that was lost, on its first axis of length 1, or merged into its first axis. */
  of(value: Value): Place {
    return this.#places.get(value) ?? { axis: Math.max(value.shape?.indexOf(1) ?? 0, 0), lead: 1 };
  }

  /** Whether a length is the number of samples: one of those of a tensor, looked up in its shape. */
  counts(
    length: Value | null | undefined,
    numbersOf: (value: Value | null | undefined) => ArrayLike<number> | undefined,
  ): boolean {
    let node = length?.producer;
    while (node && /^(Cast|Identity|Squeeze|Unsqueeze|Reshape)$/.test(node.op))
      node = node.inputs[0]?.producer;
    let axis = 0;
    if (node?.op === "Gather") {
      axis = numbersOf(node.inputs[1])?.[0] ?? Number.NaN;
      node = node.inputs[0]?.producer;
    }
    const [of] = node?.op === "Shape" ? node.inputs : [];
    const place = of && this.known(of);
    if (!node || place?.lead !== 1) return false;
    const whole = axis + node.int("start", 0);
    return (whole < 0 ? whole + (of?.shape?.length ?? 0) : whole) === place.axis;
  }

  /** Passes places on to results that have the same axis, and to those of Flatten, whose numbers stay in order. */
  pass(node: Node): void {
    if (node.op === "Flatten") {
      const [from] = node.inputs;
      const [to] = node.outputs;
      const place = from && this.#places.get(from);
      const found = place && from.shape && to?.shape && placeOfResult(from.shape, place, to.shape);
      if (to && found) this.set(to, found);
      return;
    }
    const [table, indices] = node.op === "Gather" ? node.inputs : [];
    const row = indices && !(table && this.#places.has(table)) ? this.#places.get(indices) : undefined;
    if (row && table?.shape) {
      const axis = node.int("axis", 0);
      const [to] = node.outputs;
      // The rows of a table stand where their numbers do.
      if (to) this.set(to, { ...row, axis: row.axis + (axis < 0 ? axis + table.shape.length : axis) });
      return;
    }
    const perm = node.opType === "Transpose" && node.attributes.get("perm");
    for (const input of node.inputs) {
      const place = input && this.#places.get(input);
      if (!place || !input.shape) continue;
      const axis = perm && perm.kind === "ints" ? perm.value.indexOf(place.axis) : place.axis;
      for (const output of node.outputs) {
        const isSame = output?.shape?.length === input.shape.length;
        if (output && isSame && output.shape?.[axis] === input.shape[place.axis] && !this.#places.has(output))
          this.set(output, { ...place, axis });
      }
    }
  }
}

/**
 * Where the result of a Reshape counts samples. Numbers stay in order, so that is where as many numbers lie in front of them as
 * in the input: on an axis of length 1, or merged into another one. Between two axes, samples belong to the one behind
 * (batch · heads) if the result has as many axes as the input or more, else to the one in front (tokens · batch).
 */
export function placeOfResult(
  from: readonly number[],
  place: Place,
  to: readonly number[],
): Place | undefined {
  const lead = product(from.slice(0, place.axis)) * place.lead;
  const before = (axis: number) => product(to.slice(0, axis));
  const alone = to.findIndex((length, axis) => length === 1 && before(axis) === lead);
  if (alone >= 0) return { axis: alone, lead: 1 };
  const axis = to.findIndex((length, at) => before(at) <= lead && lead < before(at) * length);
  const found = axis < 0 ? to.length - 1 : axis;
  if (found < 0 || lead % before(found) !== 0) return undefined;
  const isBetween = found > 0 && before(found) === lead;
  return isBetween && to.length < from.length
    ? { axis: found - 1, lead: to[found - 1] ?? 1 }
    : { axis: found, lead: lead / before(found) };
}

/**
 * The target of a Reshape with the length on an axis, which counts samples, open; undefined if it is so already.
 * @param repeats - whether 0 stands for that length, because it is the input's on the same axis
 */
export function openTarget(
  target: readonly number[],
  result: readonly number[],
  axis: number,
  repeats: boolean,
): readonly number[] | undefined {
  if (target[axis] === -1 || target[axis] === 0) return undefined;
  if (!target.includes(-1)) return target.with(axis, -1);
  // Another length is open already.
  return repeats ? target.with(axis, 0) : result.with(axis, -1);
}
