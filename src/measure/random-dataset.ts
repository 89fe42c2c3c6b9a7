import { namedDataset, type SampleArray } from "../data/array-dataset.ts";
import type { Dataset } from "../data/dataset.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { DataPort, StepPorts } from "../programs/step-ports.ts";
import { Random } from "../random.ts";

/**
 * Random samples that fit a step: normal floats, integers 0 and 1 (also for labels and tokens: every model has these two), shares for labels in
 * floats; masks are 1 everywhere.
 */
export function randomDataset({ inputs, labels }: StepPorts, size: number): Dataset {
  const random = new Random("benchmark");
  const array = ({ name, type, shape, batchAxis = 0 }: DataPort, isTarget: boolean): SampleArray => {
    const own = shape.filter((_, axis) => axis !== batchAxis);
    const count = size * elementCount(own);
    const isFloat = type === "float" || type === "double" || type === "float16" || type === "bfloat16";
    const isMask = /mask/i.test(name);
    if (isFloat) {
      const draw = () => (isMask ? 1 : isTarget ? random.uniform() : random.normal());
      return { data: Float32Array.from({ length: count }, draw), shape: own };
    }
    return { data: Int32Array.from({ length: count }, () => (isMask ? 1 : random.integer(2))), shape: own };
  };
  return namedDataset({
    name: "random data",
    inputs: Object.fromEntries(inputs.map((port) => [port.name, array(port, false)])),
    ...(labels && !labels.own && { labels: array(labels, true) }),
  });
}
