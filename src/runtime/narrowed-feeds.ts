import { DataError } from "../errors.ts";
import type { Model } from "../onnx/model.ts";
import { Tensor } from "../onnx/tensor.ts";
import { narrowedKey } from "../passes/backends/narrow-integers.ts";

/**
 * The inputs of a model that a pass narrowed to 32 bits.
 * @returns a function that gives their tensors this type, and leaves others as they are
 */
export function narrowedFeeds({ proto }: Model): (name: string, tensor: Tensor) => Tensor {
  const note = proto.metadataProps?.find(({ key }) => key === narrowedKey)?.value;
  const limits = new Map<string, number>(note ? Object.entries(JSON.parse(note)) : []);
  return (name, tensor) => {
    const limit = limits.get(name);
    return limit === undefined ? tensor : narrow(name, tensor, limit);
  };
}

/** @throws DataError for a number that the graph may take beyond 32 bits */
function narrow(name: string, tensor: Tensor, limit: number): Tensor {
  const numbers = tensor.numbers();
  const beyond = numbers.find((number) => Math.abs(number) > limit);
  if (beyond !== undefined) {
    throw new DataError(
      `input "${name}" has the number ${beyond}, and WebGPU computes with whole numbers up to ${limit} there: use --backend cpu`,
    );
  }
  return tensor.type === "int32" ? tensor : Tensor.of(name, "int32", tensor.dims, Int32Array.from(numbers));
}
