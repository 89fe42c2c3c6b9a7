import { zipSync } from "fflate";
import { npyBytes } from "../data/npy-bytes.ts";

/** An .npz file with samples x (float32, `[count, ...shape]`) and labels y (int64, `[count]`). */
export function npz(
  count: number,
  shape: readonly number[],
  label: (index: number) => number,
): Uint8Array<ArrayBuffer> {
  const size = shape.reduce((product, dim) => product * dim, count);
  const x = Float32Array.from({ length: size }, (_, index) => ((index * 37) % 97) / 97);
  const y = BigInt64Array.from({ length: count }, (_, index) => BigInt(label(index)));
  return zipSync({
    "x.npy": npyBytes({ descr: "<f4", shape: [count, ...shape], data: x }),
    "y.npy": npyBytes({ descr: "<i8", shape: [count], data: y }),
  });
}
