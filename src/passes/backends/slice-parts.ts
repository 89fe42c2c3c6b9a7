import { constantTensor } from "../../analysis/probe-model.ts";
import type { Node } from "../../graph/node.ts";
import { dimAt } from "../../graph/shapes.ts";

/** What a Slice takes of an axis: every `step`-th of the elements from `lowest` on; turned if it runs backwards. */
export interface SlicePart {
  readonly axis: number;
  readonly lowest: number;
  readonly length: number;
  readonly step: number;
  readonly turned: boolean;
}

/** What a Slice takes of each of its axes; undefined where its numbers are computed, or an attribute (before opset 10). */
export function slicePartsOf(node: Node): SlicePart[] | undefined {
  const [shape, sliced] = [node.inputs[0]?.shape, node.outputs[0]?.shape];
  const [starts, ends, axes, steps] = node.inputs.slice(1).map((input) => constantTensor(input)?.numbers());
  if (!shape || !sliced || !starts || !ends) return undefined;
  if ((node.inputs[3] && !axes) || (node.inputs[4] && !steps)) return undefined;
  return Array.from(starts, (start, i): SlicePart => {
    const given = axes?.[i] ?? i;
    const axis = given < 0 ? given + shape.length : given;
    const [dim, length, step] = [dimAt(shape, axis), dimAt(sliced, axis), steps?.[i] ?? 1];
    const from = start < 0 ? start + dim : start;
    const first = Math.max(0, Math.min(from, step < 0 ? dim - 1 : dim));
    const lowest = step < 0 ? first + (length - 1) * step : first;
    return { axis, lowest, length, step: Math.abs(step), turned: step < 0 };
  });
}
