import { constantTensor } from "../../analysis/probe-model.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { dimAt } from "../../graph/shapes.ts";
import type { DataTypeName } from "../../onnx/data-types.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { movedInputs } from "./moved-inputs.ts";

/** The largest size of a number of 32 bits. */
const mostOf32Bits = 2 ** 31 - 1;

/**
 * Limits for the numbers of an input, of which the first that suffices is taken. No vocabulary exceeds the first, under which a sum of 2,047 of them
 * fits into 32 bits; the others are for products of attention masks and of sums over them.
 */
const ladder = [2 ** 20, 2 ** 15, 2 ** 10, 2 ** 5 - 1];
const usualLimit = 2 ** 20;

/** The largest absolute values of whole numbers. */
interface WholeNumberSizes {
  /** By value of int64 or int32; none where it may exceed 32 bits or is not known. */
  readonly sizes: ReadonlyMap<Value, number>;
  /** The limit for the fed numbers of each int64 input. */
  readonly limits: ReadonlyMap<Value, number>;
}

/** How large the whole numbers of a graph can become, if its inputs keep limits. */
export function wholeNumberSizes(graph: Graph): WholeNumberSizes {
  const fed = graph.inputs.filter(({ type, shape, uses }) => type === "int64" && shape && uses.size > 0);
  const limits = new Map(fed.map((input) => [input, usualLimit]));
  const fixed = new Set<Value>();
  for (;;) {
    const { sizes, beyond } = sizesWithin(graph, limits);
    const reaching = new Set(beyond.flatMap((node) => [...inputsOf(node)]));
    const lowered = fed.filter((input) => reaching.has(input) && !fixed.has(input));
    if (lowered.length === 0) return { sizes, limits };
    for (const input of lowered) {
      const next = ladder[ladder.indexOf(limits.get(input) ?? 0) + 1];
      limits.set(input, next ?? usualLimit);
      // If even the lowest limit does not suffice, the operator computes with 64 bits anyway, and no lower limit is needed.
      if (next === undefined) fixed.add(input);
    }
  }
}

/**
 * The largest size of an operator's results, by those of the numbers that it reads. An operator that is not listed has results no larger than the
 * largest number it reads.
 */
const results: ReadonlyMap<string, ResultSize> = new Map<string, ResultSize>([
  ...["Add", "Sub"].map((op): [string, ResultSize] => [op, (sizes) => sizes.reduce((a, b) => a + b)]),
  ["Mul", (sizes) => sizes.reduce((a, b) => a * b)],
  ["ReduceSum", ([size = 0], node) => size * (countOf(node.inputs[0]) / countOf(node.outputs[0]))],
  ["CumSum", ([size = 0], { inputs: [x] }) => size * Math.max(...(x?.shape ?? []), 1)],
]);
type ResultSize = (sizes: readonly number[], node: Node) => number;
const countOf = (value: Value | null | undefined): number => Math.max(1, elementCount(value?.shape ?? []));

/** The largest size of a number that is converted from another type; that of a float is not known. */
const converted: Partial<Record<DataTypeName, number>> = {
  ...{ bool: 1, int8: 128, uint8: 255, int16: 32768, uint16: 65535, int32: mostOf32Bits },
};

const isWhole = (value: Value | null | undefined): value is Value =>
  value?.type === "int64" || value?.type === "int32";

/** @returns also the nodes whose results of 64 bits may exceed 32 */
function sizesWithin(
  graph: Graph,
  limits: ReadonlyMap<Value, number>,
): { readonly sizes: Map<Value, number>; readonly beyond: Node[] } {
  const sizes = new Map(limits);
  const beyond: Node[] = [];
  const sizeOf = (value: Value) =>
    sizes.get(value) ?? sizeOfConstant(value) ?? (value.type === "int32" ? mostOf32Bits : undefined);
  for (const node of graph.sorted()) {
    const made = node.outputs.filter(isWhole).filter(({ shape }) => shape);
    const size = made.length === 0 ? undefined : sizeOfResult(node, sizeOf);
    if (size === undefined) continue;
    if (size > mostOf32Bits) beyond.push(node);
    else for (const output of made) sizes.set(output, size);
  }
  return {
    sizes,
    beyond: beyond.filter(({ outputs }) => outputs.some((output) => output?.type === "int64")),
  };
}

function sizeOfResult(node: Node, sizeOf: (value: Value) => number | undefined): number | undefined {
  const [x] = node.inputs;
  if (!x?.type) return undefined;
  if (node.op === "Cast") return sizeOf(x) ?? converted[x.type];
  if (node.op === "ArgMax" || node.op === "ArgMin") return x.shape && dimAt(x.shape, node.int("axis", 0));
  if (node.string("reduction", "none") !== "none") return undefined;
  const read = movedInputs(node).map((index) => node.inputs[index]);
  const known = read.map((value) => (isWhole(value) ? sizeOf(value) : undefined));
  const given = known.filter((size) => size !== undefined);
  if (given.length === 0 || given.length < known.length) return undefined;
  return results.get(node.op)?.(given, node) ?? Math.max(...given);
}

/** The largest size in a constant of whole numbers; undefined for other values, and beyond 32 bits. */
export function sizeOfConstant(value: Value): number | undefined {
  const constant = isWhole(value) ? constantTensor(value) : undefined;
  if (!constant) return undefined;
  const size = constant
    .numbers()
    .reduce((most: number, number: number) => Math.max(most, Math.abs(number)), 0);
  return size <= mostOf32Bits ? size : undefined;
}

/** The graph inputs that a node depends on. */
function inputsOf(node: Node): Set<Value> {
  const seen = new Set<Value>();
  const waiting: (Value | null)[] = [...node.inputs];
  for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
    if (!value || seen.has(value)) continue;
    seen.add(value);
    waiting.push(...(value.producer?.inputs ?? []));
  }
  return seen;
}
