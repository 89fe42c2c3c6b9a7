import Long from "long";
import { expect, test } from "vitest";
import { isFilled, signOfConstant } from "../../src/analysis/number-signs.ts";
import { DataType } from "../../src/onnx/data-types.ts";
import { onnx } from "../../src/onnx/schema.js";
import { type ExternalReference, Tensor } from "../../src/onnx/tensor.ts";

const { EXTERNAL } = onnx.TensorProto.DataLocation;

/** A table of float32 in another file, and what is read of that file. */
function tableOf(dims: readonly number[], numberAt: (index: number) => number) {
  const ranges: ExternalReference[] = [];
  const proto = new onnx.TensorProto({
    ...{ name: "table", dataType: DataType.float, dims: dims.map((dim) => Long.fromNumber(dim)) },
    dataLocation: EXTERNAL,
    externalData: [
      { key: "location", value: "table.data" },
      { key: "offset", value: "4096" },
    ],
  });
  const tensor = Tensor.fromProto(proto, (range) => {
    ranges.push(range);
    const numbers = Float32Array.from({ length: (range.length ?? 0) / 4 }, (_, i) => numberAt(i));
    return new Uint8Array(numbers.buffer);
  });
  return { tensor, ranges };
}

test.each([
  ["weights", (i: number) => Math.sin(i * i), undefined],
  ["a mask", (i: number) => (i % 3 === 0 ? Number.NEGATIVE_INFINITY : 0), /mask/],
] as const)("a gigabyte of %s is judged by its first rows", (_, numberAt, sign) => {
  const { tensor, ranges } = tableOf([260_000, 1024], numberAt);
  expect(isFilled(tensor.named("other"))).toBe(false);
  const said = signOfConstant(tensor);
  if (sign) expect(said).toMatch(sign);
  else expect(said).toBeUndefined();
  expect(ranges.map(({ offset, length }) => [offset, length])).toEqual([
    [4096, 4 * 4096],
    [4096, 4 * 2 ** 22],
  ]);
});

test("the beginning of a tensor: whole rows, and all of a small one", () => {
  const tensor = Tensor.float("t", [4, 3], [...Array(12).keys()]);
  expect([...tensor.beginning(7).numbers()]).toEqual([0, 1, 2, 3, 4, 5]);
  expect(tensor.beginning(2).dims).toEqual([1, 3]);
  expect(tensor.beginning(12)).toBe(tensor);
});

// As PyTorch's default exporter folds the tables of rotary positions, one angle per column, and names them unsqueeze_14.
test.each<[string, (t: number, c: number) => number, boolean]>([
  ["cosines", (t, c) => Math.cos(t * 0.3 ** c), true],
  ["sines, scaled", (t, c) => 0.5 * Math.sin(t * 0.3 ** c), true],
  ["cosines that were trained", (t, c) => Math.cos(t * 0.3 ** c) + 1e-3 * Math.sin(7 * t * t), false],
  ["rows that are alike", (_, c) => Math.sin(5 * c * c), false],
  ["columns that grow", (t, c) => 2 ** (t * c) / 100, false],
])("%s of positions", (_, numberAt, isTable) => {
  for (const columns of [1, 3]) {
    const numbers = Array.from({ length: 10 * columns }, (_, i) =>
      numberAt(Math.floor(i / columns), i % columns),
    );
    const said = signOfConstant(Tensor.float("t", [1, 1, 10, columns], numbers));
    expect(said === "it is a table of sines").toBe(isTable);
  }
});
