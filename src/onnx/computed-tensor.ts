import type { DataTypeName } from "./data-types.ts";
import { computedFile } from "./made-files.ts";
import { byteLengthOf, Tensor } from "./tensor.ts";

/**
 * A tensor whose elements are computed by each use, so that a model of many such tensors holds none of them.
 * @param shared - whether readers at the same time get the same array; otherwise each may change its own
 */
export function computedTensor(
  name: string,
  type: DataTypeName,
  dims: readonly number[],
  compute: () => Uint8Array,
  shared = true,
): Tensor {
  const end = byteLengthOf(type, dims);
  return Tensor.stored(name, type, dims, { file: computedFile(end, compute, shared), start: 0, end });
}
