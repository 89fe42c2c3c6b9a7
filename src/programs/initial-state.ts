import { SorthError } from "../errors.ts";
import { Graph } from "../graph/graph.ts";
import { graphToProto } from "../graph/proto.ts";
import { Model } from "../onnx/model.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import type { StatePort, Step } from "./step.ts";

/**
 * The state that a step starts from, as a model without inputs: its outputs bear the names of the step's state inputs
 * (parameters, optimizer slots as zeros, running statistics), so that any loop begins with `state = run(initial)`.
 *
 * @example
 * const step = await buildStep(model, options);
 * await writeModel(step.model, "step.onnx");
 * await writeModel(initialState(step), "step.initial.onnx");
 */
export function initialState(step: Pick<Step, "ports" | "initial" | "model">): Model {
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
 * @throws SorthError when one has no numbers
 */
export function initialTensors({ ports, initial }: Pick<Step, "ports" | "initial">): Map<string, Tensor> {
  const start = (port: StatePort & { readonly name: string }) => {
    const tensor = initial.get(port.name);
    if (!tensor) throw new SorthError(`"${port.name}" has no initial numbers`);
    return [port.input, tensor.named(port.input)] as const;
  };
  return new Map([
    ...ports.parameters.flatMap((port) => [
      start(port),
      ...[...port.slots.values()].map((slot) => [slot.input, zeros(slot)] as const),
    ]),
    ...ports.statistics.map(start),
  ]);
}

/** Fresh zeros for a state of a step. */
export function zeros({ input, type, shape }: StatePort): Tensor {
  const count = elementCount(shape);
  return Tensor.of(input, type, shape, type === "double" ? new Float64Array(count) : new Float32Array(count));
}
