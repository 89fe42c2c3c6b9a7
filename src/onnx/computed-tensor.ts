import type { DataTypeName } from "./data-types.ts";
import { computedFile } from "./made-files.ts";
import { byteLengthOf, Tensor } from "./tensor.ts";

/** A tensor whose elements are computed by each use, so that a model of many such tensors holds none of them. */
export function computedTensor(
  name: string,
  type: DataTypeName,
  dims: readonly number[],
  compute: () => Uint8Array,
): Tensor {
  const end = byteLengthOf(type, dims);
  return Tensor.stored(name, type, dims, { file: computedFile(end, compute), start: 0, end });
}
