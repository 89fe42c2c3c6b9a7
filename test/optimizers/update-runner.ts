import * as ort from "onnxruntime-node";
import { Emit } from "../../src/graph/emit.ts";
import { type Typed, typed } from "../../src/graph/emit-base.ts";
import { Graph } from "../../src/graph/graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { type Optimizer, transformationOf } from "../../src/optimizers/optimizer.ts";
import type { GradientTransformation, ParameterSpec } from "../../src/optimizers/transformation.ts";
import { initialNumbers } from "../../src/programs/initial-state.ts";
import { statePorts } from "../../src/programs/step-ports.ts";
import { emitUpdates, type UpdatePorts } from "../../src/programs/update.ts";
import { fromOrt, toOrt } from "../helpers/run-model.ts";

/** Element types in which parameters are trained. */
export type TrainedType = "float" | "double";

/** A parameter with its first numbers. Where it is penalized, the gradient of its penalties is its cube. */
export interface Parameter extends ParameterSpec {
  readonly type: TrainedType;
  readonly start: readonly number[];
}

/** Gradients of all parameters, and the learning rates that go with them. */
export interface UpdateStep {
  readonly gradients: readonly (readonly number[])[];
  readonly learningRate: number;
  /** Those of groups. */
  readonly rates?: readonly number[];
}

/** Numbers of every parameter, and of every slot by `parameter.slot` (`slot` where it belongs to none). */
export interface Numbers {
  readonly parameters: readonly (readonly number[])[];
  readonly slots: Readonly<Record<string, readonly number[]>>;
}

const tensorOf = (type: TrainedType, dims: readonly number[], values: readonly number[]): Tensor =>
  Tensor.of("", type, dims, type === "float" ? Float32Array.from(values) : Float64Array.from(values));

/** The update of parameters as a graph, written as programs write it: inputs `p`, `p.gradient`, `p.m` … and the scalars. */
export function updateGraph(
  optimizer: Optimizer,
  parameters: readonly ParameterSpec[],
  scalarType: TrainedType = "float",
): { graph: Graph; ports: UpdatePorts } {
  const graph = new Graph("update", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "sorth/" });
  const [learningRate, step] = ["learning_rate", "step"].map((name) =>
    typed(graph.addInput(name, scalarType, [])),
  ) as [ReturnType<typeof typed>, ReturnType<typeof typed>];
  const count = Math.max(0, ...parameters.map(({ rate = -1 }) => rate + 1));
  const rates = Array.from({ length: count }, (_, i) =>
    typed(graph.addInput(`learning_rate.${i}`, scalarType, [])),
  );
  const trained = parameters.map(({ name, type, shape, matrix, weightDecay, idle, rate, penalized }) => ({
    group: { weightDecay, idle, rate },
    name,
    ...(penalized && { penaltyGradient: (at: Typed) => g.mul(g.mul(at, at), at) }),
    value: typed(graph.addInput(name, type, shape)),
    matrix,
    gradient: typed(graph.addInput(`${name}.gradient`, type, shape)),
  }));
  const ports = emitUpdates(graph, g, optimizer, trained, { learningRate, step, rates });
  graph.prune();
  return { graph, ports };
}

/** The numbers after each of some steps, as ONNX Runtime computes them on one thread. */
export async function runSteps(
  optimizer: Optimizer,
  parameters: readonly Parameter[],
  steps: readonly UpdateStep[],
  scalarType: TrainedType = parameters[0]?.type ?? "float",
): Promise<Numbers[]> {
  const { graph, ports } = updateGraph(optimizer, parameters, scalarType);
  const session = await ort.InferenceSession.create(encodeModelProto(graphToProto(graph)), {
    ...{ intraOpNumThreads: 1, logSeverityLevel: 3 },
  });
  const initial = new Map(parameters.map((p) => [p.name, tensorOf(p.type, p.shape, p.start)]));
  const all = { ports: { ...ports, statistics: [] } as never, initial };
  let state: Record<string, ort.Tensor> = Object.fromEntries(
    initialNumbers(all).map(({ port, start }) => [
      port.input,
      toOrt(
        start ?? tensorOf(port.type as TrainedType, port.shape, new Array(elementCount(port.shape)).fill(0)),
      ),
    ]),
  );
  const found: Numbers[] = [];
  try {
    for (const [index, { gradients, learningRate, rates = [] }] of steps.entries()) {
      const feeds = Object.fromEntries(
        parameters.map(({ name, type, shape }, i) => [
          `${name}.gradient`,
          toOrt(tensorOf(type, shape, gradients[i] ?? [])),
        ]),
      );
      const scalars = {
        learning_rate: toOrt(tensorOf(scalarType, [], [learningRate])),
        step: toOrt(tensorOf(scalarType, [], [index + 1])),
        ...Object.fromEntries(
          rates.map((rate, i) => [`learning_rate.${i}`, toOrt(tensorOf(scalarType, [], [rate]))]),
        ),
      };
      const fed: Record<string, ort.Tensor> = { ...state, ...feeds, ...scalars };
      const results = await session.run(
        Object.fromEntries(session.inputNames.map((name) => [name, fed[name] as ort.Tensor])),
      );
      state = Object.fromEntries(
        statePorts({ ...ports, statistics: [] }).map(({ input, output }) => [
          input,
          results[output] as ort.Tensor,
        ]),
      );
      const numbers = (name: string) => fromOrt(name, state[name] as ort.Tensor).numbers();
      const names = parameters.map(({ name }) => name);
      const slots = Object.keys(state).filter((name) => !names.includes(name));
      found.push({
        parameters: names.map(numbers),
        slots: Object.fromEntries(slots.map((name) => [name, numbers(name)])),
      });
    }
  } finally {
    await session.release();
  }
  return found;
}

/** The numbers after each of some steps, as the float64 reference has them. */
export function referenceSteps(
  optimizer: Optimizer,
  parameters: readonly Omit<Parameter, "type">[],
  steps: readonly UpdateStep[],
): Numbers[] {
  const transformation: GradientTransformation = transformationOf(optimizer);
  const specs = parameters.map(({ name, shape, matrix, penalized = false }) => ({
    ...{ name, shape, matrix, penalized },
    type: "double" as const,
  }));
  const slots = transformation.init(specs);
  let values = parameters.map(({ start }) => [...start]);
  let state = slots.map(({ start, shape, of }) =>
    start === "parameter" ? [...(values[of ?? 0] ?? [])] : new Array<number>(elementCount(shape)).fill(start),
  );
  return steps.map(({ gradients, learningRate }, index) => {
    const result = transformation.compute({
      parameters: specs.map((spec, i) => ({ ...spec, values: values[i] ?? [] })),
      ...{ updates: gradients, state, learningRate, step: index + 1 },
      penaltyGradient: (_, at) => at.map((w) => w ** 3),
    });
    values = values.map((parameter, i) =>
      parameter.map((w, k) => w - (result.updates[i]?.[k] ?? Number.NaN)),
    );
    state = result.state;
    return {
      parameters: values,
      slots: Object.fromEntries(
        slots.map(({ name, of }, i) => [
          of === undefined ? name : `${specs[of]?.name}.${name}`,
          state[i] ?? [],
        ]),
      ),
    };
  });
}
