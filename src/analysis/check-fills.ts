import Long from "long";
import { FileError } from "../errors.ts";
import { bodiesOf } from "../graph/bodies.ts";
import type { Graph } from "../graph/graph.ts";
import { nodeToProto } from "../graph/proto.ts";
import { tableOf } from "../lookup.ts";
import type { onnx } from "../onnx/schema.js";
import { Tensor } from "../onnx/tensor.ts";
import { constantTensor } from "./probe-model.ts";

/** 1 GiB of float32: more than any constant that an exporter leaves to be computed. */
const mostNumbers = 2 ** 28;

/** What is constant in a graph, a body or a function, by name: with its numbers, where a node does not compute them. */
type Constants = Map<string, onnx.TensorProto.$Properties | Tensor | undefined>;

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
 * a model, those of bodies and functions too, so that a file of a few bytes would fill the memory.
 * @throws FileError that names the node
 */
export function checkFills(graph: Graph): void {
  const constants: Constants = new Map();
  for (const value of graph.values) {
    const tensor = constantTensor(value);
    if (tensor) constants.set(value.name, tensor);
  }
  // A constant that a node holds may be large: it is not copied into a message.
  check(graph.nodes.filter(({ op }) => op !== "Constant").map(nodeToProto), [constants]);
  for (const { node } of graph.functions) check(node ?? [], [new Map()]);
}

/** @param scopes - constants of these nodes' graph, and of those around it */
function check(nodes: readonly onnx.NodeProto.$Properties[], scopes: readonly Constants[]): void {
  const [own = new Map(), ...outer] = scopes;
  const scopeOf = (name: string) => [own, ...outer].find((scope) => scope.has(name));
  for (const node of nodes) {
    checkVectorizer(node);
    const [op, input, output] = [node.opType ?? "", node.input ?? [], node.output ?? []];
    const bodies = [...bodiesOf(node)];
    for (const { node: inner, initializer } of bodies) {
      const stored = (initializer ?? []).map((tensor) => [tensor.name ?? "", tensor] as const);
      check(inner ?? [], [new Map(stored), ...scopes]);
    }
    // What CastLike takes from its second operand is the type.
    const read = op === "CastLike" ? input.slice(0, 1) : input;
    if (bodies.length > 0 || !read.every((name) => name === "" || scopeOf(name))) continue;
    for (const name of output) own.set(name, op === "Constant" ? storedIn(node) : undefined);
    const numbers = (at: number) => smallNumbers(scopeOf(input[at] ?? "")?.get(input[at] ?? ""));
    const count = node.domain ? undefined : fills[op]?.(numbers);
    if (count === undefined || count <= mostNumbers) continue;
    throw new FileError(
      `${op} "${node.name || output[0]}" would make ${count} numbers of constants alone, more than ${mostNumbers}: the file is damaged, export it again`,
    );
  }
}

/** What a Constant node holds; undefined for texts and sparse tensors. */
function storedIn({
  attribute,
}: onnx.NodeProto.$Properties): onnx.TensorProto.$Properties | Tensor | undefined {
  for (const { name, t, i, f, ints, floats } of attribute ?? []) {
    if (name === "value" && t) return t;
    if (name === "value_int") return Tensor.int64("", [], [Long.fromValue(i ?? 0).toNumber()]);
    if (name === "value_ints") {
      const numbers = (ints ?? []).map((one) => Long.fromValue(one).toNumber());
      return Tensor.int64("", [numbers.length], numbers);
    }
    if (name === "value_float") return Tensor.float("", [], [f ?? 0]);
    if (name === "value_floats") return Tensor.float("", [floats?.length ?? 0], floats ?? []);
  }
  return undefined;
}

/** The numbers of an operand that states sizes. */
function smallNumbers(
  stored: onnx.TensorProto.$Properties | Tensor | undefined,
): readonly number[] | undefined {
  if (!stored) return undefined;
  const tensor = stored instanceof Tensor ? stored : Tensor.fromProto(stored);
  return tensor.size > 0 && tensor.size <= 64 && tensor.isInMemory ? tensor.numbers() : undefined;
}

/** A FeatureVectorizer fills up its inputs to widths that it states. ONNX Runtime knows its shape only when it runs. */
function checkVectorizer({ opType, domain, name, output, attribute }: onnx.NodeProto.$Properties): void {
  if (opType !== "FeatureVectorizer" || domain !== "ai.onnx.ml") return;
  const widths = attribute?.find((one) => one.name === "inputdimensions")?.ints ?? [];
  const width = widths.reduce<number>((sum, one) => sum + Math.max(0, Long.fromValue(one).toNumber()), 0);
  if (width <= mostNumbers) return;
  throw new FileError(
    `FeatureVectorizer "${name || output?.[0]}" states a width of ${width} numbers, more than ${mostNumbers}: the file is damaged, export it again`,
  );
}
