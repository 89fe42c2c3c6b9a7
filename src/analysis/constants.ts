import { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { graphToProto } from "../graph/proto.ts";
import { encodeModelProto } from "../onnx/codec.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import type { Probe } from "./probe.ts";
import { constantOf } from "./probe-model.ts";

/** Constants above this number of elements stay computed: folding them would store what a node makes. */
const largest = 65_536;

/** Operators whose result differs from run to run. */
const random = new Set([
  "RandomNormal",
  "RandomNormalLike",
  "RandomUniform",
  "RandomUniformLike",
  "Bernoulli",
  "Multinomial",
]);

/** Options of {@link foldConstants}. */
export interface FoldOptions {
  /** Names of parameters: what is computed from them stays computed, since they change. */
  readonly keep?: ReadonlySet<string>;
}

/**
 * Turns whatever depends on no data into initializers: Constant nodes, the Shape and Size of values whose shape is known,
 * and all that follows from them, computed by ONNX Runtime in one run. So the chains of Shape, Gather, Concat by which
 * exporters compute shapes vanish. For an inferred graph; nodes without readers go.
 *
 * @example
 * await inferShapes(graph, nodeProbe, { batch: 64 });
 * await foldConstants(graph, nodeProbe, { keep: new Set(["fc1.weight"]) });
 */
export async function foldConstants(graph: Graph, probe: Probe, options: FoldOptions = {}): Promise<void> {
  foldKnown(graph);
  const keep = options.keep ?? new Set();
  const constant = (value: Value | null) =>
    value === null || (value.initializer !== undefined && !keep.has(value.name));
  const foldable = new Set<Node>();
  for (const node of graph.sorted()) {
    const plain = node.captures.length === 0 && !random.has(node.opType) && !hasBody(node);
    const inputs = node.inputs.every(
      (input) => constant(input) || (input?.producer && foldable.has(input.producer)),
    );
    const small = node.outputs.every(
      (output) => !output || (output.shape && elementCount(output.shape) <= largest),
    );
    if (plain && inputs && small) foldable.add(node);
  }
  const results = [...foldable].flatMap((node) =>
    node.outputs.filter(
      (output): output is Value =>
        output !== null &&
        (graph.outputs.includes(output) ||
          [...output.uses].some(({ node: reader }) => !foldable.has(reader))),
    ),
  );
  if (results.length > 0) {
    const computed = await probe.run(cutOut(graph, foldable, results), new Map());
    for (const value of results) {
      const tensor = computed.get(value.name);
      if (tensor) becomeInitializer(graph, value, tensor);
    }
  }
  graph.prune();
}

const hasBody = (node: Node) =>
  [...node.attributes.values()].some(({ kind }) => kind === "graph" || kind === "other");

/** What needs no computation: Constant nodes, and shapes that are known. */
function foldKnown(graph: Graph): void {
  for (const node of graph.nodes) {
    const [output] = node.outputs;
    if (!output || node.domain !== "") continue;
    const tensor = constantOf(node);
    if (tensor) {
      becomeInitializer(graph, output, tensor);
      continue;
    }
    const shape = node.inputs[0]?.shape;
    if (!shape) continue;
    if (node.opType === "Shape") {
      const dims = shape.slice(
        node.int("start", 0),
        node.attributes.has("end") ? node.int("end", 0) : undefined,
      );
      becomeInitializer(graph, output, Tensor.int64(output.name, [dims.length], dims));
    } else if (node.opType === "Size") {
      becomeInitializer(graph, output, Tensor.int64(output.name, [], [elementCount(shape)]));
    }
  }
}

/** Puts a constant in the place of a computed value; the name stays. */
function becomeInitializer(graph: Graph, value: Value, tensor: Tensor): void {
  const { name } = value;
  // A body reads the value by its name: it stays as it is.
  if ([...value.uses].some(({ index }) => index < 0)) return;
  graph.rename(value, graph.freshName(`${name}/folded`));
  const constant = graph.addInitializer(tensor.named(name));
  graph.replaceUses(value, constant, { outputs: true });
}

/** A model of the foldable nodes alone. */
function cutOut(graph: Graph, nodes: ReadonlySet<Node>, results: readonly Value[]): Uint8Array {
  const copy = new Graph("constants", graph.opsets);
  for (const node of nodes) {
    for (const input of node.inputs) {
      if (input?.initializer && !copy.value(input.name))
        copy.addInitializer(input.initializer.named(input.name));
    }
  }
  for (const node of nodes) {
    copy.addNode({
      opType: node.opType,
      domain: node.domain,
      attributes: node.attributes,
      inputs: node.inputs.map((input) => input && copy.reference(input.name)),
      outputs: node.outputs.map((output) => output?.name ?? null),
    });
  }
  for (const { name } of results) copy.addOutput(copy.valueNamed(name));
  return encodeModelProto(graphToProto(copy));
}
