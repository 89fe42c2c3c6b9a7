import { Tensor } from "../../src/onnx/tensor.ts";
import type { Reference } from "./reference.ts";

/** A layer of PyTorch's network with a folded BatchNorm, found in a file. */
export interface FoldedLayer {
  readonly name: string;
  /** Converts numbers from the file's layout to PyTorch's. */
  readonly fromFile: (numbers: ArrayLike<number>) => Float64Array;
  /** PyTorch's weight or bias in the file's layout; equal to the file's except for the last bits. */
  readonly value: Tensor;
}

/** The layer whose folded weight or bias equals a value, up to rounding by another order of operations. */
export function foldedLike(value: Tensor, reference: Reference): FoldedLayer | undefined {
  const numbers = value.data as Float32Array;
  const size = numbers.reduce((largest, number) => Math.max(largest, Math.abs(number)), 0);
  for (const [name, candidate] of reference.folded) {
    if (candidate.size !== value.size) continue;
    const wanted = candidate.data as Float32Array;
    const [rows = 1, columns = 1] = candidate.dims;
    const orders: ((i: number) => number)[] = [];
    if (candidate.dims.join() === value.dims.join()) orders.push((i) => i);
    if (value.dims.join() === [columns, rows].join())
      orders.push((i) => (i % columns) * rows + Math.floor(i / columns));
    for (const order of orders) {
      if (!wanted.every((number, i) => Math.abs(number - (numbers[order(i)] as number)) <= 1e-5 * size))
        continue;
      const own = new Float32Array(wanted.length);
      for (const [i, number] of wanted.entries()) own[order(i)] = number;
      return {
        name,
        fromFile: (found) => Float64Array.from(wanted, (_, i) => found[order(i)] as number),
        value: Tensor.of(value.name, "float", value.dims, own),
      };
    }
  }
  return undefined;
}
