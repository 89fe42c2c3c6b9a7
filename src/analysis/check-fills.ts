import { FileError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { tableOf } from "../lookup.ts";
import { constantTensor } from "./probe-model.ts";

/** 1 GiB of float32: more than any constant that an exporter leaves to be computed. */
const mostNumbers = 2 ** 28;

/** Least number of elements of a node's output that its constant operands state; undefined where they state none. */
type Fill = (numbers: (input: number) => readonly number[] | undefined) => number | undefined;

const product = (sizes: readonly number[] | undefined): number | undefined =>
  sizes?.reduce((all, size) => all * Math.max(1, size), 1);

/** Operators that make a large tensor of a few numbers. */
const fills: Readonly<Record<string, Fill>> = tableOf({
  ConstantOfShape: (numbers) => product(numbers(0)),
  Expand: (numbers) => product(numbers(1)),
  Tile: (numbers) => product(numbers(1)),
  OneHot: (numbers) => product(numbers(1)),
  AffineGrid: (numbers) => product(numbers(1)),
  CenterCropPad: (numbers) => product(numbers(1)),
  HannWindow: (numbers) => product(numbers(0)),
  HammingWindow: (numbers) => product(numbers(0)),
  BlackmanWindow: (numbers) => product(numbers(0)),
  Resize: (numbers) => product(numbers(3) ?? numbers(2)),
  Upsample: (numbers) => product(numbers(1)),
  Pad: (numbers) => {
    const pads = numbers(1);
    const rank = (pads?.length ?? 0) / 2;
    return product(pads?.slice(0, rank).map((before, axis) => 1 + before + (pads[rank + axis] ?? 0)));
  },
  Range: (numbers) => {
    const [start, limit, delta] = [numbers(0)?.[0], numbers(1)?.[0], numbers(2)?.[0]];
    if (start === undefined || limit === undefined || delta === undefined) return undefined;
    return (limit - start) / delta;
  },
});

/**
 * Refuses a node that makes a tensor of constants alone which no memory holds: ONNX Runtime computes constants while it opens
 * a model, so that a file of a few bytes would fill the memory.
 * @throws FileError that names the node
 */
export function checkFills(graph: Graph): void {
  const constants = new Set<Value>();
  const isConstant = (value: Value | null) =>
    !value || constants.has(value) || constantTensor(value) !== undefined;
  for (const node of graph.nodes) {
    // What CastLike takes from its second operand is the type.
    const read = node.op === "CastLike" ? node.inputs.slice(0, 1) : node.inputs;
    if (node.captures.length > 0 || !read.every(isConstant)) continue;
    for (const value of node.outputs) if (value) constants.add(value);
    const count = fills[node.op]?.((input) => smallConstant(node, input));
    if (count === undefined || count <= mostNumbers) continue;
    throw new FileError(
      `${node.op} "${node.label}" would make ${count} numbers of constants alone, more than ${mostNumbers}: the file is damaged, export it again`,
    );
  }
}

/** The numbers of an operand that states sizes. */
function smallConstant(node: Node, input: number): readonly number[] | undefined {
  const tensor = constantTensor(node.inputs[input]);
  return tensor && tensor.size > 0 && tensor.size <= 64 ? tensor.numbers() : undefined;
}
