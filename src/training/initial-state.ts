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
export function initialState({ ports, initial, model }: Pick<Step, "ports" | "initial" | "model">): Model {
  const opset = Number(model.proto.opsetImport.find(({ domain }) => !domain)?.version ?? 18);
  const graph = new Graph("initial_state", new Map([["", opset]]));
  const show = ({ input, type, shape }: StatePort, tensor: Tensor) => {
    const value = graph.addInitializer(tensor.named(`initial/${input}`));
    const output = graph.addNode({ opType: "Identity", name: input, inputs: [value], outputs: [input] })
      .outputs[0];
    if (!output) return;
    output.type = type;
    output.shape = shape;
    graph.addOutput(output);
  };
  for (const port of ports.parameters) {
    show(port, startOf(port, initial.get(port.name)));
    for (const slot of port.slots.values()) show(slot, startOf(slot, undefined));
  }
  for (const port of ports.statistics) show(port, startOf(port, initial.get(port.name)));
  return Model.fromProto(graphToProto(graph));
}

/** The tensor itself, or zeros. */
function startOf({ input, type, shape }: StatePort, tensor: Tensor | undefined): Tensor {
  if (tensor) return tensor;
  const size = elementCount(shape);
  return Tensor.of(input, type, shape, type === "double" ? new Float64Array(size) : new Float32Array(size));
}
