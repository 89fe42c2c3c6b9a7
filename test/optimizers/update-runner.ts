import * as ort from "onnxruntime-node";
import { Emit } from "../../src/graph/emit.ts";
import { typed } from "../../src/graph/emit-base.ts";
import { Graph } from "../../src/graph/graph.ts";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import type { Optimizer } from "../../src/optimizers/optimizer.ts";
import { fromOrt, toOrt } from "../helpers/run-model.ts";

/** Element types in which parameters are trained. */
export type TrainedType = "float" | "double";

/** Numbers as a tensor of float32 or float64. */
export const tensorOf = (type: TrainedType, dims: readonly number[], values: readonly number[]): Tensor =>
  Tensor.of("", type, dims, type === "float" ? Float32Array.from(values) : Float64Array.from(values));

/** The update of `copies` parameters of n numbers each: inputs p0, p0.gradient, p0.m …, outputs in the order of reading. */
export function updateGraph(optimizer: Optimizer, type: TrainedType, n: number, copies = 1): Graph {
  const graph = new Graph("update", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "sorth/" });
  const input = (name: string, dims: readonly number[]) => typed(graph.addInput(name, type, dims));
  const [learningRate, step] = [input("learning_rate", []), input("step", [])];
  for (let copy = 0; copy < copies; copy++) {
    const parameter = input(`p${copy}`, [n]);
    const gradient = input(`p${copy}.gradient`, [n]);
    const slots = optimizer.slots.map((slot) => input(`p${copy}.${slot}`, [n]));
    const next = optimizer.update(g, { parameter, gradient, slots, learningRate, step });
    for (const value of [next.parameter, ...next.slots]) graph.addOutput(value as Value);
  }
  return graph;
}

/** What the graph and the reference hold after some steps of one parameter. */
export interface Trajectory {
  readonly graph: { parameter: number[]; slots: number[][] };
  readonly reference: { parameter: number[]; slots: number[][] };
}

/** Runs the same steps through ONNX Runtime and through the float64 reference. */
export async function follow(
  optimizer: Optimizer,
  type: TrainedType,
  start: readonly number[],
  steps: readonly { gradient: readonly number[]; learningRate: number }[],
): Promise<Trajectory> {
  const n = start.length;
  const session = await ort.InferenceSession.create(
    encodeModelProto(graphToProto(updateGraph(optimizer, type, n))),
    { intraOpNumThreads: 1, logSeverityLevel: 3 },
  );
  const zeros = () => ({ parameter: [...start], slots: optimizer.slots.map(() => start.map(() => 0)) });
  let [graph, reference] = [zeros(), zeros()];
  try {
    for (const [index, { gradient, learningRate }] of steps.entries()) {
      const step = index + 1;
      const numbers: Record<string, Tensor> = {
        p0: tensorOf(type, [n], graph.parameter),
        "p0.gradient": tensorOf(type, [n], gradient),
        learning_rate: tensorOf(type, [], [learningRate]),
        step: tensorOf(type, [], [step]),
      };
      for (const [i, slot] of optimizer.slots.entries()) {
        numbers[`p0.${slot}`] = tensorOf(type, [n], graph.slots[i] ?? []);
      }
      const feeds = Object.entries(numbers).map(([name, tensor]) => [name, toOrt(tensor)] as const);
      const results = await session.run(Object.fromEntries(feeds));
      const [parameter = [], ...slots] = session.outputNames.map((name) =>
        fromOrt(name, results[name] as ort.Tensor).numbers(),
      );
      graph = { parameter, slots };
      reference = optimizer.reference({ ...reference, gradient, learningRate, step });
    }
  } finally {
    await session.release();
  }
  return { graph, reference };
}
