import type { Probe } from "../../analysis/probe.ts";
import { constantOf, isDescribed } from "../../analysis/probe-model.ts";
import { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { graphToProto } from "../../graph/proto.ts";
import { encodeModelProto } from "../../onnx/codec.ts";
import { isFloat } from "../../onnx/data-types.ts";
import { elementCount, Tensor } from "../../onnx/tensor.ts";

/** Float constants above this number of elements stay computed: folding them would store what a node makes. */
const largest = 65_536;

/** Operators whose result differs from run to run. */
const random = new Set([
  ...["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"],
  ...["Bernoulli", "Multinomial", "Dropout"],
]);

/** Options of {@link foldConstants}. */
export interface FoldOptions {
  /** Names of parameters: what is computed from them stays computed, since they change. */
  readonly keep?: ReadonlySet<string>;
}

/** Turns Constant nodes that hold a tensor into initializers of the same name: there they can be parameters. */
export function liftConstants(graph: Graph): void {
  const lifted = new Set<Node>();
  for (const node of graph.nodes) {
    const tensor = constantOf(node);
    const output = node.outputs[0];
    if (!tensor || !output) continue;
    graph.setConstant(output, tensor);
    output.fromNode = true;
    lifted.add(node);
  }
  graph.removeNodes(lifted);
}

/**
 * Turns whatever depends on no data into initializers: Constant nodes, the Shape and Size of values whose shape is known
 * (at the batch size it was inferred with), and all that follows from them, computed by ONNX Runtime in one run. So the
 * chains of Shape, Gather, Concat by which exporters compute shapes vanish. Integers and flags of any size are stored,
 * floats up to 65,536 elements. Random operators, nodes with bodies and operators outside the standard domain stay.
 * For an inferred graph; nodes without readers go, values keep their identity.
 *
 * @example
 * await inferShapes(graph, nodeProbe, { batch: 64 });
 * await foldConstants(graph, nodeProbe, { keep: new Set(["fc1.weight"]) });
 */
export async function foldConstants(graph: Graph, probe: Probe, options: FoldOptions = {}): Promise<void> {
  liftConstants(graph);
  foldShapes(graph);
  const constants = constantValues(graph, options.keep ?? new Set());
  await compute(graph, probe, wantedConstants(graph, constants));
  graph.prune();
}

/**
 * Turns those of the given values that depend on no data into initializers, before shapes are inferred: conditions, which
 * decide what there is to infer.
 */
export async function foldValues(
  graph: Graph,
  probe: Probe,
  values: readonly Value[],
  options: FoldOptions = {},
): Promise<void> {
  foldShapes(graph);
  const constants = constantValues(graph, options.keep ?? new Set());
  await compute(
    graph,
    probe,
    values.filter((value) => value.producer && constants.has(value)),
  );
  graph.prune();
}

async function compute(graph: Graph, probe: Probe, results: readonly Value[]): Promise<void> {
  if (results.length === 0) return;
  // As the file has them: no optimization may change a number.
  const computed = await probe.run(cutOut(graph, results), new Map(), { optimize: false });
  for (const value of results) {
    const tensor = computed.get(value.name);
    if (tensor) graph.setConstant(value, tensor);
  }
}

/** Shape and Size of values whose shape is known. */
function foldShapes(graph: Graph): void {
  for (const node of graph.nodes) {
    const output = node.outputs[0];
    const shape = node.inputs[0]?.shape;
    if (!output || !shape) continue;
    if (node.op === "Shape") {
      const end = node.attributes.has("end") ? node.int("end", 0) : undefined;
      const dims = shape.slice(node.int("start", 0), end);
      graph.setConstant(output, Tensor.int64(output.name, [dims.length], dims));
    } else if (node.op === "Size") {
      graph.setConstant(output, Tensor.int64(output.name, [], [elementCount(shape)]));
    }
  }
}

/** Initializers but for those kept, and everything computed from them alone. */
function constantValues(graph: Graph, keep: ReadonlySet<string>): Set<Value> {
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

/** The computed constants that the rest of the graph reads; where one is too large to store, those it is made of. */
function wantedConstants(graph: Graph, constants: ReadonlySet<Value>): Value[] {
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
  // ONNX Runtime's node binding ends the process when such an output is fetched.
  if (/^(u?int[24]|float4e2m1)$/.test(type)) return false;
  return !isFloat(type) || elementCount(shape) <= largest;
}

/** A model that computes these values and nothing else. */
function cutOut(graph: Graph, results: readonly Value[]): Uint8Array {
  const copy = new Graph("constants", graph.opsets);
  const nodes = new Set<Node>();
  const open: (Value | null)[] = [...results];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (value?.initializer && !copy.value(value.name))
      copy.addInitializer(value.initializer.named(value.name));
    if (!value?.producer || nodes.has(value.producer)) continue;
    nodes.add(value.producer);
    open.push(...value.producer.inputs);
  }
  for (const node of nodes) {
    copy.addNode({
      opType: node.opType,
      attributes: node.attributes,
      inputs: node.inputs.map((input) => input && copy.reference(input.name)),
      outputs: node.outputs.map((output) => output?.name ?? null),
    });
  }
  for (const { name } of results) copy.addOutput(copy.valueNamed(name));
  return encodeModelProto(graphToProto(copy));
}
