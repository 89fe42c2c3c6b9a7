import type { Tensor } from "../onnx/tensor.ts";

/** Rows multiplied together: reading five numbers then gives four products. */
const together = 4;

/**
 * Products of matrices in float64, for builds of ONNX Runtime without a float64 MatMul.
 * @param x - [groups, m, d]
 * @param y - [groups, n, d]; leave it out for the products of x's columns
 * @returns x·yᵀ of each group, [groups, m, n]; without y xᵀ·x, [groups, d, d]
 */
export function plainProducts(x: Tensor, y: Tensor | undefined): Float64Array {
  const [groups = 0, m = 0, d = 0] = x.dims;
  if (!y) {
    const columns = transposed(floatsOf(x), groups, m, d);
    return rowProducts(columns, columns, { groups, rows: d, columns: d, length: m });
  }
  return rowProducts(floatsOf(x), floatsOf(y), { groups, rows: m, columns: y.dims[1] ?? 0, length: d });
}

type Floats = Float32Array | Float64Array;

const floatsOf = ({ data }: Tensor): Floats => data as Floats;

/** [groups, rows, columns] as [groups, columns, rows]. */
function transposed(data: Floats, groups: number, rows: number, columns: number): Float64Array {
  const result = new Float64Array(data.length);
  for (let group = 0; group < groups; group++) {
    const first = group * rows * columns;
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        result[first + c * rows + r] = data[first + r * columns + c] as number;
      }
    }
  }
  return result;
}

/** Dot products of every row of x with every row of y in the same group, four rows of x at a time. */
function rowProducts(
  x: Floats,
  y: Floats,
  { groups, rows, columns, length }: { groups: number; rows: number; columns: number; length: number },
): Float64Array {
  const products = new Float64Array(groups * rows * columns);
  for (let group = 0; group < groups; group++) {
    const own = x.subarray(group * rows * length, (group + 1) * rows * length);
    const others = y.subarray(group * columns * length, (group + 1) * columns * length);
    const target = products.subarray(group * rows * columns, (group + 1) * rows * columns);
    for (let row = 0; row < rows; row += together) {
      for (let column = 0; column < columns; column++) {
        const other = others.subarray(column * length, (column + 1) * length);
        const sums = fourProducts(own, other, row, rows - 1);
        for (let r = row; r < Math.min(row + together, rows); r++) {
          target[r * columns + column] = sums[r - row] as number;
        }
      }
    }
  }
  return products;
}

/** Products of four rows with a vector; after the last row of x, that row is used again. */
function fourProducts(
  x: Floats,
  vector: Floats,
  row: number,
  last: number,
): [number, number, number, number] {
  const { length } = vector;
  const a0 = row * length;
  const a1 = Math.min(row + 1, last) * length;
  const a2 = Math.min(row + 2, last) * length;
  const a3 = Math.min(row + 3, last) * length;
  let [p0, p1, p2, p3] = [0, 0, 0, 0];
  for (let i = 0; i < length; i++) {
    const value = vector[i] as number;
    p0 += (x[a0 + i] as number) * value;
    p1 += (x[a1 + i] as number) * value;
    p2 += (x[a2 + i] as number) * value;
    p3 += (x[a3 + i] as number) * value;
  }
  return [p0, p1, p2, p3];
}
