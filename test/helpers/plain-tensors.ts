import type { Tensor } from "../../src/onnx/tensor.ts";

/**
 * Tensors as plain objects, which an assertion compares number by number. A Tensor's numbers are private, so `toEqual`
 * on two tensors would compare only names, types and shapes.
 */
export function plain(tensors: Readonly<Record<string, Tensor>>) {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, tensor]) => [
      name,
      { type: tensor.type, dims: [...tensor.dims], numbers: tensor.numbers() },
    ]),
  );
}
