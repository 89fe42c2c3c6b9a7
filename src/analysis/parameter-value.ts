import { int } from "../graph/attribute.ts";
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { graphToProto } from "../graph/proto.ts";
import { ancestorsOf } from "../graph/reach.ts";
import { encodeModelProto } from "../onnx/codec.ts";
import { DataType } from "../onnx/data-types.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { cutOut } from "./cut-out.ts";
import type { Probe } from "./probe.ts";

/**
 * The numbers of a value that depends on a graph's constants only. ONNX Runtime computes a weight behind Transpose, Reshape,
 * Cast or DequantizeLinear, as float64 if it supports that.
 * @returns undefined if the value depends on a graph input
 */
export async function parameterValue(graph: Graph, value: Value, probe: Probe): Promise<Tensor | undefined> {
  if (value.initializer) return value.initializer;
  if (dependsOnInput(graph, value)) return undefined;
  const part = cutOut(graph, [value], "parameter");
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

/** Whether a value depends on a graph input without a default. */
function dependsOnInput(graph: Graph, value: Value): boolean {
  const nodes = [...ancestorsOf([value])];
  const read = [value, ...nodes.flatMap(({ inputs, captures }) => [...inputs, ...captures])];
  return read.some((one) => one && !one.producer && !one.initializer && graph.inputs.includes(one));
}
