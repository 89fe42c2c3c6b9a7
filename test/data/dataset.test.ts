import { describe, expect, test } from "vitest";
import { arrayDataset } from "../../src/data/array-dataset.ts";
import { subset } from "../../src/data/dataset.ts";
import { checkLabels, fitToInput } from "../../src/data/fit.ts";

const x = Float32Array.from({ length: 12 }, (_, i) => i / 2);
const data = arrayDataset(x, Int32Array.of(0, 1, 2, 1), [3], { name: "d" });

describe("arrayDataset", () => {
  test("writes rows into arrays of any type that a model declares", () => {
    const [double, long] = [new Float64Array(6), new BigInt64Array(2)];
    data.fill([3, 0], double, long);
    expect([...double]).toEqual([4.5, 5, 5.5, 0, 0.5, 1]);
    expect([...long]).toEqual([1n, 0n]);
  });

  test("leaves the rest of a longer array alone", () => {
    const target = new Float32Array(7).fill(9);
    data.fill([1], target, new Int32Array(1));
    expect([...target]).toEqual([1.5, 2, 2.5, 9, 9, 9, 9]);
  });

  test("normalises bytes as they are read", () => {
    const bytes = arrayDataset(Uint8Array.of(0, 255, 128), Uint8Array.of(0, 0, 0), [1], {
      normalize: { mean: 0.5, std: 0.2 },
    });
    expect(bytes.x.type).toBe("float");
    const target = new Float64Array(3);
    bytes.fill([0, 1, 2], target, new Int32Array(3));
    expect([...target]).toEqual([-2.5, 2.5, (128 / 255 - 0.5) / 0.2].map(Math.fround));
  });

  test("takes 64-bit integers, floats as targets, and an explicit target shape", () => {
    const long = arrayDataset(BigInt64Array.of(5n, 6n), BigUint64Array.of(1n, 0n), [1]);
    expect([long.x.type, long.y]).toEqual(["integer", { type: "integer", shape: [], classes: 2 }]);
    const targets = arrayDataset(x, x.slice(0, 8), [3]);
    expect(targets.y).toEqual({ type: "float", shape: [2] });
    expect(arrayDataset(x, x.slice(0, 4), [3], { targetShape: [1] }).y.shape).toEqual([1]);
  });

  test.each([
    [
      () => arrayDataset(x, Int32Array.of(0), [5]),
      "12 elements of x are no whole number of samples of shape [5]",
    ],
    [
      () => arrayDataset(x, Int32Array.of(0, 1), [3]),
      "x has 4 samples, but y has 2 elements; give one y for every x",
    ],
    [
      () => arrayDataset(x, x.slice(0, 4), [3], { targetShape: [2] }),
      "x has 4 samples, but y has 4 elements; give one y of shape [2] for every x",
    ],
    [() => arrayDataset(new Float32Array(), new Int32Array(), [3]), "the data: there are no samples"],
    [() => arrayDataset(x, Int32Array.of(0, 0, -3, 0), [3]), "y holds the label -3 at element 2"],
    [
      () => arrayDataset(x, Int32Array.of(0, 0, 0, 0), [3], { normalize: { mean: 0, std: 1 } }),
      "must be a Uint8Array",
    ],
  ])("refuses wrong arrays (%#)", (make, message) => {
    expect(make).toThrow(message);
  });

  test("refuses rows that are not there and arrays that are too short", () => {
    const y = new Int32Array(4);
    expect(() => data.fill([4], new Float32Array(3), y)).toThrow("d: sample 4 is not in 0 … 3");
    expect(() => data.fill([-1], new Float32Array(3), y)).toThrow("d: sample -1 is not in 0 … 3");
    expect(() => data.fill([0, 1], new Float32Array(5), y)).toThrow(
      "d: 2 samples need 6 elements, the array holds 5",
    );
  });
});

describe("subset", () => {
  const part = subset(data, Uint32Array.of(2, 0), "part");

  test("renumbers samples", () => {
    const [target, y] = [new Float32Array(6), new Int32Array(2)];
    part.fill([1, 0], target, y);
    expect([part.size, [...target], [...y]]).toEqual([2, [0, 0.5, 1, 3, 3.5, 4], [0, 2]]);
  });

  test("refuses rows outside", () => {
    expect(() => part.fill([2], new Float32Array(3), new Int32Array(1))).toThrow("sample -1 is not in");
  });
});

describe("fitToInput", () => {
  const images = arrayDataset(new Uint8Array(12), Uint8Array.of(0, 1), [1, 2, 3], { name: "images" });

  test.each([
    [
      ["batch", 1, 2, 3],
      [1, 2, 3],
    ],
    [
      [undefined, "c", 2, undefined],
      [1, 2, 3],
    ],
    [["batch", 6], [6]],
    [
      ["batch", 2, 3],
      [2, 3],
    ],
    [
      ["batch", 2, 3, 1],
      [2, 3, 1],
    ],
  ])("an input %j takes images [1, 2, 3]", (shape, expected) => {
    expect(fitToInput(images, { name: "x", shape }).x.shape).toEqual(expected);
  });

  test.each([[["batch", 7]], [["batch", 3, 2]], [["batch", 6, "n"]], [["batch"]], [[]]])(
    "an input %j does not",
    (shape: (number | string)[]) => {
      expect(() => fitToInput(images, { name: "x", shape })).toThrow(
        `images: samples of x have shape [1, 2, 3], but input "x" of the model takes [${shape.join(", ")}]`,
      );
    },
  );

  test("an integer input takes no fractions", () => {
    const input = { name: "ids", type: "int64", shape: ["batch", 3] } as const;
    expect(() => fitToInput(data, input)).toThrow(
      'd: input "ids" of the model takes int64, but x holds floats',
    );
    expect(fitToInput(images, { ...input, shape: ["batch", 6] }).size).toBe(2);
  });
});

describe("checkLabels", () => {
  test("accepts labels below the number of classes", () => {
    expect(() => checkLabels(data, 3)).not.toThrow();
    expect(() => checkLabels(data, 2)).toThrow("d: y holds the label 2, but the model has 2 classes (0 … 1)");
  });

  test("refuses targets", () => {
    expect(() => checkLabels(arrayDataset(x, x, [1]), 3)).toThrow("cross-entropy needs class labels");
  });
});
