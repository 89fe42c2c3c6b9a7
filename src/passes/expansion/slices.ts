import { int, ints } from "../../graph/attribute.ts";
import type { Value } from "../../graph/node.ts";
import { Tensor } from "../../onnx/tensor.ts";
import type { Inliner } from "./inliner.ts";

/** Tensors put side by side along a new axis. */
export function stack(inliner: Inliner, values: readonly Value[], axis: number, name: string): Value {
  const rows = values.map((value) => moveAxis(inliner, "Unsqueeze", value, axis, `${value.name}/row`));
  return inliner.op("Concat", rows, `${name}/stacked`, new Map([["axis", int(axis)]]));
}

/** The slices of a tensor along an axis, without that axis. */
export function unstack(inliner: Inliner, value: Value, axis: number, count: number, name: string): Value[] {
  return split(inliner, value, axis, Array<number>(count).fill(1), name).map((part) =>
    moveAxis(inliner, "Squeeze", part, axis, part.name),
  );
}

/** More outputs at one Split than a shader on WebGPU may write. */
const tooManyParts = 8;

/** A tensor cut into pieces of these lengths along an axis, in rounds of at most seven parts. */
export function split(
  inliner: Inliner,
  value: Value,
  axis: number,
  lengths: readonly number[],
  name: string,
): Value[] {
  const { graph } = inliner;
  const share = lengths.length < tooManyParts ? 1 : Math.ceil(lengths.length / (tooManyParts - 1));
  const groups = Array.from({ length: Math.ceil(lengths.length / share) }, (_, i) =>
    lengths.slice(i * share, (i + 1) * share),
  );
  const sums = groups.map((group) => group.reduce((sum, length) => sum + length, 0));
  const attributes = new Map([["axis", int(axis)]]);
  const inputs: Value[] = [value];
  if (graph.opset < 13) attributes.set("split", ints(sums));
  else inputs.push(inliner.constant(Tensor.int64(`${name}/lengths`, [sums.length], sums)));
  const parts = graph.addNode({
    opType: "Split",
    name: graph.freshName(`${name}/split`),
    inputs,
    outputs: groups.map((_, i) => graph.freshName(`${name}/part/${i}`)),
    attributes,
  }).outputs as Value[];
  if (share === 1) return parts;
  return groups.flatMap((group, i) => split(inliner, parts[i] as Value, axis, group, `${name}/${i}`));
}

function moveAxis(
  inliner: Inliner,
  opType: "Squeeze" | "Unsqueeze",
  value: Value,
  axis: number,
  stem: string,
): Value {
  if (inliner.graph.opset < 13) return inliner.op(opType, [value], stem, new Map([["axes", ints([axis])]]));
  const axes = inliner.constant(Tensor.int64(`${stem}/axis`, [1], [axis]));
  return inliner.op(opType, [value, axes], stem);
}
