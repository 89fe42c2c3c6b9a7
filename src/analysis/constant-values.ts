import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { graphToProto } from "../graph/proto.ts";
import { encodeModelProto } from "../onnx/codec.ts";
import { isFloat } from "../onnx/data-types.ts";
import { elementCount, type Tensor } from "../onnx/tensor.ts";
import { cutOut } from "./cut-out.ts";
import { drawingOperators } from "./drawing-operators.ts";
import type { Probe } from "./probe.ts";
import { isDescribed } from "./probe-model.ts";

/** Float constants with more elements than this stay computed, because stored they would make the file large. */
const largest = 65_536;

/** Operators whose result differs between runs. */
const random = new Set([...drawingOperators, "Dropout"]);

/** All initializers except the kept ones, and every value computed only from them. */
export function constantValues(graph: Graph, keep: ReadonlySet<string>): Set<Value> {
  const constants = new Set(graph.initializers.filter((value) => !keep.has(value.name)));
  for (const node of graph.sorted()) {
    const plain = node.domain === "" && !random.has(node.opType) && !hasBody(node);
    if (!plain || !node.inputs.every((input) => !input || constants.has(input))) continue;
    for (const output of node.outputs) if (output) constants.add(output);
  }
  return constants;
}

const hasBody = (node: Node): boolean =>
  [...node.attributes.values()].some(({ kind }) => kind === "graph" || kind === "other");

/** The computed constants that the rest of the graph reads. A constant that is too large to store is replaced by those that it is computed from. */
export function wantedConstants(graph: Graph, constants: ReadonlySet<Value>): Value[] {
  const open: (Value | null)[] = [...graph.outputs];
  for (const node of graph.nodes) {
    const folded = node.outputs.some((output) => output && constants.has(output));
    if (!folded) open.push(...node.inputs, ...node.captures);
  }
  const wanted = new Set<Value>();
  const seen = new Set<Value>();
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (!value?.producer || !constants.has(value) || seen.has(value)) continue;
    seen.add(value);
    if (canStore(value)) wanted.add(value);
    else open.push(...value.producer.inputs);
  }
  return [...wanted];
}

function canStore({ type, shape }: Value): boolean {
  if (!type || !shape || type === "string" || !isDescribed(type)) return false;
  // Fetching such an output makes ONNX Runtime's node binding end the process.
  if (/^(u?int[24]|float4e2m1)$/.test(type)) return false;
  return !isFloat(type) || elementCount(shape) <= largest;
}

/** The numbers of values that depend only on constants, by name. ONNX Runtime computes them in one run. */
export function computeValues(
  graph: Graph,
  probe: Probe,
  values: readonly Value[],
): Promise<ReadonlyMap<string, Tensor>> {
  const part = cutOut(graph, values, "constants");
  for (const { name } of values) part.addOutput(part.valueNamed(name));
  // No graph optimization, so that no number changes.
  return probe.run(encodeModelProto(graphToProto(part)), new Map(), { optimize: false });
}
