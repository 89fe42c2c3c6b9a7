import type { Tensor } from "../../src/onnx/tensor.ts";

/**
 * Tensors as plain objects, which an assertion compares number by number: a Tensor keeps its numbers private, so that
 * `toEqual` on two tensors would compare names, types and shapes alone.
 */
export function plain(tensors: Readonly<Record<string, Tensor>>) {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, tensor]) => [
      name,
      { type: tensor.type, dims: [...tensor.dims], numbers: tensor.numbers() },
    ]),
  );
}
