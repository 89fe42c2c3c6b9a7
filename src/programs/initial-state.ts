import { checkFields } from "../check-arguments.ts";
import { SorthError } from "../errors.ts";
import { Graph } from "../graph/graph.ts";
import { graphToProto } from "../graph/proto.ts";
import { Model } from "../onnx/model.ts";
import { byteLengthOf, Tensor, viewOf } from "../onnx/tensor.ts";
import { isWide } from "../onnx/tensor-data.ts";
import { inStep } from "./state-layout.ts";
import type { Step } from "./step.ts";
import type { StatePort } from "./step-ports.ts";

/**
 * The state that a step starts from, as a model without inputs: its outputs have the names of the step's state inputs
 * (parameters, optimizer slots as zeros, running statistics), so that any loop begins with `state = run(initial)`.
 *
 * @example
 * const step = await buildStep(model, options);
 * await writeModel(step.model, "step.onnx");
 * await writeModel(initialState(step), "step.initial.onnx");
 */
export function initialState(step: Pick<Step, "ports" | "initial" | "model">): Model {
  checkFields("a step is what buildStep gives", step, "ports", "initial", "model");
  const opset = Number(step.model.proto.opsetImport.find(({ domain }) => !domain)?.version ?? 18);
  const graph = new Graph("initial_state", new Map([["", opset]]));
  for (const [name, tensor] of initialTensors(step)) {
    const value = graph.addInitializer(tensor.named(`initial/${name}`));
    const output = graph.addNode({ opType: "Identity", name, inputs: [value], outputs: [name] }).outputs[0];
    if (!output) continue;
    output.type = tensor.type;
    output.shape = tensor.dims;
    graph.addOutput(output);
  }
  return Model.fromProto(graphToProto(graph));
}

/**
 * The same by the names of the step's inputs. Parameters and statistics are those of the model, not copies.
 * @throws SorthError if one has no numbers
 */
export function initialTensors({ ports, initial }: Pick<Step, "ports" | "initial">): Map<string, Tensor> {
  return new Map(
    initialNumbers({ ports, initial }).map(({ port, start = zeros(port) }) => [
      port.input,
      start.named(port.input),
    ]),
  );
}

/** A state of a step and its initial numbers; zeros if `start` is undefined. */
interface InitialNumbers {
  readonly port: StatePort;
  readonly start: Tensor | undefined;
}

/** Every state of a step and its first numbers. @throws SorthError when a parameter or statistic has none */
export function initialNumbers({ ports, initial }: Pick<Step, "ports" | "initial">): InitialNumbers[] {
  const ofModel = (port: StatePort & { readonly name: string }) => {
    const start = initial.get(port.name);
    if (!start) throw new SorthError(`"${port.name}" has no initial numbers`);
    return { port, start: inStep(port, start) };
  };
  return [
    ...ports.parameters.flatMap((parameter) => {
      const own = ofModel(parameter);
      return [
        own,
        ...[...parameter.slots.values()].map((port) => ({ port, start: slotStart(port, own.start) })),
      ];
    }),
    ...(ports.shared ?? []).map((port) => ({ port, start: slotStart(port, undefined) })),
    ...ports.statistics.map(ofModel),
  ];
}

/** The initial value of a slot; undefined for zeros. */
function slotStart(port: StatePort, parameter: Tensor | undefined): Tensor | undefined {
  const { start = 0, input, type, shape } = port;
  if (start === "parameter") {
    if (parameter && parameter.type === type && parameter.dims.join() === shape.join()) return parameter;
    throw new SorthError(`the optimizer state "${input}" starts as a parameter of another type or shape`);
  }
  if (start === 0) return undefined;
  const tensor = zeros(port);
  const { data } = tensor;
  if (isWide(data)) data.fill(BigInt(start));
  else if (type === "float" || type === "double" || type === "int32") (data as Float32Array).fill(start);
  else throw new SorthError(`the optimizer state "${input}" is ${type}: only zeros can be its start`);
  return tensor;
}

/** Fresh zeros for a state of a step. */
export const zeros = ({ input, type, shape }: Pick<StatePort, "input" | "type" | "shape">): Tensor =>
  Tensor.of(input, type, shape, viewOf(type, new Uint8Array(byteLengthOf(type, shape))));
