import type { Probe } from "../analysis/probe.ts";
import { int } from "../graph/attribute.ts";
import { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { graphToProto } from "../graph/proto.ts";
import { encodeModelProto } from "../onnx/codec.ts";
import { DataType } from "../onnx/data-types.ts";
import type { Tensor } from "../onnx/tensor.ts";

/**
 * The numbers of a value that follows from a graph's constants alone: a weight behind Transpose, Reshape, Cast or
 * DequantizeLinear is computed by ONNX Runtime, as float64 where it has that.
 * @returns undefined where the value depends on a graph input.
 */
export async function parameterValue(graph: Graph, value: Value, probe: Probe): Promise<Tensor | undefined> {
  if (value.initializer) return value.initializer;
  const nodes = ancestors(graph, value);
  if (!nodes) return undefined;
  const part = new Graph("parameter", graph.opsets);
  for (const source of new Set([...nodes].flatMap((node) => [...node.inputs, ...node.captures]))) {
    if (source?.initializer) part.addInitializer(source.initializer.named(source.name));
  }
  for (const node of nodes) {
    part.addNode({
      ...{ opType: node.opType, domain: node.domain, name: node.name, attributes: node.attributes },
      inputs: node.inputs.map((input) => input && part.reference(input.name)),
      outputs: node.outputs.map((output) => output?.name ?? null),
      captures: node.captures.map((captured) => part.reference(captured.name)),
    });
  }
  const name = part.freshName("numbers");
  const cast = part.addNode({
    opType: "Cast",
    attributes: new Map([["to", int(probe.float64 ? DataType.double : DataType.float)]]),
    inputs: [part.valueNamed(value.name)],
    outputs: [name],
  });
  for (const output of cast.outputs) if (output) part.addOutput(output);
  const results = await probe.run(encodeModelProto(graphToProto(part)), new Map());
  return results.get(name);
}

/** The nodes that a value is computed by; undefined when one of them reads a graph input that has no default. */
function ancestors(graph: Graph, value: Value): Set<Node> | undefined {
  const nodes = new Set<Node>();
  const open = [value];
  for (let next = open.pop(); next; next = open.pop()) {
    if (next.producer && !nodes.has(next.producer)) {
      nodes.add(next.producer);
      for (const input of [...next.producer.inputs, ...next.producer.captures]) if (input) open.push(input);
    } else if (!next.producer && !next.initializer && graph.inputs.includes(next)) {
      return undefined;
    }
  }
  return nodes;
}
