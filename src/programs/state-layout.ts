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

/** A state by input name, each tensor in the model's form; only ports that are given are converted. */
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
  const outer = strided(axes, permutation);
  const { length: inner, stride } = outer.pop() ?? { length: 1, stride: 1 };
  const place = outer.map(() => 0);
  // The last axis in pieces: the lines of memory that one piece reads are in the cache when their next numbers are read.
  for (let begin = 0; begin < inner; begin += pieceLength) {
    const end = Math.min(begin + pieceLength, inner);
    let from = begin * stride;
    for (let at = 0; at < to.length; at += inner) {
      for (let i = begin, source = from; i < end; i++, source += stride) to[at + i] = data[source] ?? 0;
      // The next place along the outer axes, the last of them first; after the last place the first one again.
      for (let axis = outer.length - 1; axis >= 0; axis--) {
        const { length, stride: step } = outer[axis] as StridedAxis;
        place[axis] = (place[axis] ?? 0) + 1;
        from += step;
        if ((place[axis] ?? 0) < length) break;
        from -= length * step;
        place[axis] = 0;
      }
    }
  }
  return Tensor.of(name, type, dims, to);
}

/** A line of memory holds 16 float32. */
const pieceLength = 16;

/** An axis of a reordered tensor, and how far apart its numbers are in the original. */
interface StridedAxis {
  readonly length: number;
  readonly stride: number;
}

/** The axes in their new order; neighbours that were neighbours before are one axis. */
function strided(axes: Shape, permutation: readonly number[]): StridedAxis[] {
  const merged: StridedAxis[] = [];
  for (const axis of permutation) {
    const [length, stride] = [axes[axis] ?? 1, elementCount(axes.slice(axis + 1))];
    const before = merged.at(-1);
    if (before?.stride === stride * length)
      merged[merged.length - 1] = { length: before.length * length, stride };
    else merged.push({ length, stride });
  }
  return merged;
}
