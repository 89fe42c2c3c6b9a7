import type { Shape } from "../graph/shapes.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import type { StateLayout } from "../passes/training/store-as-read.ts";
import { type StatePort, type StepPorts, statePorts } from "./step-ports.ts";

// A step may hold weights, and their optimizer slots, in the order in which its nodes read them (StatePort.layout). Everything
// outside its session has the model's order: checkpoints, exports, TrainerState, evaluation on the host.

/** A tensor of the model in the form of a step's input. */
export const inStep = ({ layout, shape }: StatePort, tensor: Tensor): Tensor =>
  reordered(tensor, layout, shape);

/** A tensor of the model in the order of a layout and another shape; without a layout the tensor itself. */
export const reordered = (tensor: Tensor, layout: StateLayout | undefined, shape: Shape): Tensor =>
  layout ? permuted(tensor, layout.axes, layout.permutation, shape) : tensor;

/** The same back: a step's tensor in the model's form. */
export function inModel(port: StatePort, tensor: Tensor): Tensor {
  if (!port.layout) return tensor;
  const { shape, axes, permutation } = port.layout;
  const inverse = permutation.map((_, axis) => permutation.indexOf(axis));
  return permuted(
    tensor,
    permutation.map((axis) => axes[axis] ?? 1),
    inverse,
    shape,
  );
}

/** A state by input name, each tensor in the form of the step's input; tensors that are no state stay as they are. */
export const allInStep = (ports: StateOfStep, tensors: ReadonlyMap<string, Tensor>): Map<string, Tensor> =>
  converted(ports, tensors, inStep);

/** A state by input name, each tensor in the model's form. */
export const allInModel = (ports: StateOfStep, tensors: ReadonlyMap<string, Tensor>): Map<string, Tensor> =>
  converted(ports, tensors, inModel);

/** The ports as they would be if the step held everything in the model's form. */
export const modelPorts = (ports: StepPorts): StepPorts => ({
  ...ports,
  parameters: ports.parameters.map((parameter) => ({
    ...modelPort(parameter),
    slots: new Map([...parameter.slots].map(([name, slot]) => [name, modelPort(slot)])),
  })),
});

type StateOfStep = Pick<StepPorts, "parameters" | "shared" | "statistics">;

function modelPort<P extends StatePort>({ layout, ...port }: P): Omit<P, "layout"> {
  return layout ? { ...port, shape: layout.shape } : port;
}

function converted(
  ports: StateOfStep,
  tensors: ReadonlyMap<string, Tensor>,
  convert: (port: StatePort, tensor: Tensor) => Tensor,
): Map<string, Tensor> {
  const result = new Map(tensors);
  for (const port of statePorts(ports)) {
    const tensor = port.layout && tensors.get(port.input);
    if (tensor) result.set(port.input, convert(port, tensor));
  }
  return result;
}

/** The numbers of a tensor, cut into axes that then stand in another order. */
function permuted(tensor: Tensor, axes: Shape, permutation: readonly number[], dims: Shape): Tensor {
  const { name, type } = tensor;
  const data = tensor.data as Float32Array;
  const to = data.slice();
  const lengths = permutation.map((axis) => axes[axis] ?? 1);
  const strides = permutation.map((axis) => elementCount(axes.slice(axis + 1)));
  const [inner = 1, stride = 1] = [lengths.at(-1), strides.at(-1)];
  const place = new Array<number>(lengths.length).fill(0);
  let from = 0;
  for (let at = 0; at < to.length; at += inner) {
    for (let i = 0; i < inner; i++) to[at + i] = data[from + i * stride] ?? 0;
    // The next place along the outer axes, the last of them first.
    for (let axis = lengths.length - 2; axis >= 0; axis--) {
      const [length = 1, step = 0] = [lengths[axis], strides[axis]];
      place[axis] = (place[axis] ?? 0) + 1;
      from += step;
      if ((place[axis] ?? 0) < length) break;
      from -= length * step;
      place[axis] = 0;
    }
  }
  return Tensor.of(name, type, dims, to);
}
