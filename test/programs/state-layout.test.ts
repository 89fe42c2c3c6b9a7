import { expect, test } from "vitest";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { inModel, inStep } from "../../src/programs/state-layout.ts";

/** The numbers in their new order, place by place. */
function expected(
  data: ArrayLike<number>,
  axes: readonly number[],
  permutation: readonly number[],
): number[] {
  const lengths = permutation.map((axis) => axes[axis] ?? 1);
  return Array.from({ length: data.length }, (_, i) => {
    let [rest, from] = [i, 0];
    for (let at = lengths.length - 1; at >= 0; at--) {
      const [length, axis] = [lengths[at] ?? 1, permutation[at] ?? 0];
      from += (rest % length) * elementCount(axes.slice(axis + 1));
      rest = Math.floor(rest / length);
    }
    return data[from] ?? Number.NaN;
  });
}

test.each([
  [
    [40, 3],
    [40, 3],
    [1, 0],
  ],
  [
    [3, 40],
    [3, 40],
    [1, 0],
  ],
  [
    [20, 5, 3, 3],
    [20, 5, 3, 3],
    [2, 3, 1, 0],
  ],
  [
    [6, 4, 1, 1],
    [6, 4, 1, 1],
    [2, 3, 1, 0],
  ],
  [
    [6, 4],
    [3, 2, 4],
    [2, 0, 1],
  ],
  [
    [2, 3, 4],
    [2, 3, 4],
    [0, 1, 2],
  ],
  [
    [2, 3, 4, 5],
    [2, 3, 4, 5],
    [3, 1, 0, 2],
  ],
  [[7], [7], [0]],
])("%j cut into %j, axes in the order %j, and back", (shape, axes, permutation) => {
  for (const type of ["float", "double"] as const) {
    const numbers = Array.from({ length: elementCount(shape) }, (_, i) => i + 1);
    const data = type === "float" ? Float32Array.from(numbers) : Float64Array.from(numbers);
    const layout = { shape, axes, permutation };
    const port = { input: "w", output: "w.next", type, shape: [numbers.length], layout };
    const stored = inStep(port, Tensor.of("w", type, shape, data));
    expect([stored.type, stored.dims]).toEqual([type, port.shape]);
    expect([...stored.numbers()]).toEqual(expected(data, axes, permutation));
    const back = inModel(port, stored);
    expect([back.type, back.dims, [...back.numbers()]]).toEqual([type, shape, numbers]);
  }
});
