import { FileError } from "../errors.ts";
import { type Attribute, attributeFromProto } from "../graph/attribute.ts";
import { bodiesOf } from "../graph/bodies.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node } from "../graph/node.ts";
import { tableOf } from "../lookup.ts";
import type { onnx } from "../onnx/schema.js";
import { Tensor } from "../onnx/tensor.ts";
import { drawingOperators } from "./drawing-operators.ts";
import { constantOf } from "./probe-model.ts";

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

/** What the check reads of a node: of a graph, or of a body or function, whose nodes are messages. */
interface Looked extends Pick<Node, "opType" | "domain"> {
  readonly label: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly bodies: readonly onnx.GraphProto.$Properties[];
  readonly attributes: () => Map<string, Attribute>;
}

const ofNode = ({ opType, domain, label, inputs, outputs, attributes }: Node): Looked => ({
  ...{ opType, domain, label, attributes: () => attributes },
  inputs: inputs.map((value) => value?.name ?? ""),
  outputs: outputs.map((value) => value?.name ?? ""),
  bodies: [...attributes.values()].flatMap(({ kind, value }) => (kind === "graph" ? [value] : [])),
});

const ofMessage = (node: onnx.NodeProto.$Properties): Looked => ({
  ...{ opType: node.opType ?? "", domain: node.domain ?? "", bodies: bodiesOf(node) },
  ...{ inputs: node.input ?? [], outputs: node.output ?? [], label: node.name || (node.output?.[0] ?? "") },
  attributes: () =>
    new Map((node.attribute ?? []).map((one) => [one.name ?? "", attributeFromProto(one)] as const)),
});

/**
 * Refuses a node that makes a tensor of constants alone which no memory holds: ONNX Runtime computes constants while it opens
 * a model, those of bodies and functions too, so that a file of a few bytes would fill the memory.
 * @throws FileError that names the node
 */
export function checkFills(graph: Graph): void {
  const constants: Constants = new Map();
  for (const { name, initializer } of graph.values) if (initializer) constants.set(name, initializer);
  check(graph.nodes.map(ofNode), [constants]);
  for (const { node } of graph.functions) check((node ?? []).map(ofMessage), [new Map()]);
}

/** @param scopes - constants of these nodes' graph, and of those around it */
function check(nodes: readonly Looked[], scopes: readonly Constants[]): void {
  const [own = new Map(), ...outer] = scopes;
  const scopeOf = (name: string) => [own, ...outer].find((scope) => scope.has(name));
  for (const node of nodes) {
    const { opType, domain, label, inputs, outputs, bodies } = node;
    if (opType === "FeatureVectorizer" && domain === "ai.onnx.ml") checkVectorizer(node);
    for (const { node: inner, initializer } of bodies) {
      const stored = (initializer ?? []).map((tensor) => [tensor.name ?? "", tensor] as const);
      check((inner ?? []).map(ofMessage), [new Map(stored), ...scopes]);
    }
    // What CastLike takes from its second operand is the type.
    const read = opType === "CastLike" ? inputs.slice(0, 1) : inputs;
    const draws = drawingOperators.has(opType);
    if (bodies.length > 0 || draws || !read.every((name) => name === "" || scopeOf(name))) continue;
    const constant =
      opType === "Constant" ? constantOf({ opType, domain, attributes: node.attributes() }) : undefined;
    for (const name of outputs) own.set(name, constant);
    const numbers = (at: number) => smallNumbers(scopeOf(inputs[at] ?? "")?.get(inputs[at] ?? ""));
    const count = domain ? undefined : fills[opType]?.(numbers);
    if (count === undefined || count <= mostNumbers) continue;
    throw new FileError(
      `${opType} "${label}" would make ${count} numbers of constants alone, more than ${mostNumbers}: the file is damaged, export it again`,
    );
  }
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
function checkVectorizer({ label, attributes }: Looked): void {
  const widths = attributes().get("inputdimensions");
  const width = widths?.kind === "ints" ? widths.value.reduce((sum, one) => sum + Math.max(0, one), 0) : 0;
  if (width <= mostNumbers) return;
  throw new FileError(
    `FeatureVectorizer "${label}" states a width of ${width} numbers, more than ${mostNumbers}: the file is damaged, export it again`,
  );
}
