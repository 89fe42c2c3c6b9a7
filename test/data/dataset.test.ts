import { describe, expect, test } from "vitest";
import { arrayDataset } from "../../src/data/array-dataset.ts";
import { subset } from "../../src/data/dataset.ts";
import { checkNumbers, fitShape } from "../../src/data/fit.ts";
import { checkLabels, objectiveFor } from "../../src/data/labels.ts";
import { crossEntropy } from "../../src/losses/cross-entropy.ts";
import type { Objective } from "../../src/losses/objective.ts";

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
      "x has 12 elements, which is not a multiple of a sample's shape [5]",
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

describe("fitShape", () => {
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
    expect(fitShape("d: x", [1, 2, 3], { name: "x", shape })).toEqual({ shape: expected });
  });

  test.each([[["batch", 7]], [["batch", 3, 2]], [["batch", 6, "n"]], [["batch"]], [[]]])(
    "an input %j does not",
    (shape: (number | string)[]) => {
      expect(() => fitShape("images: x", [1, 2, 3], { name: "x", shape })).toThrow(
        `images: x: samples have shape [1, 2, 3], but input "x" of the model takes [${shape.join(", ")}]`,
      );
    },
  );

  test.each([
    [[32, 32, 3], ["N", 3, 32, 32], [3, 32, 32], [2, 0, 1], "hold their channels last"],
    [[8, 6, 4], ["N", 4, "h", "w"], [4, 8, 6], [2, 0, 1], "hold their channels last"],
    [[3, 32, 32], ["N", 32, 32, 3], [32, 32, 3], [1, 2, 0], "hold their channels first"],
    [[9, 8, 7, 1], ["N", 1, 9, "h", "w"], [1, 9, 8, 7], undefined, undefined],
    [[9, 8, 7, 2], ["N", 2, 9, "h", "w"], [2, 9, 8, 7], [3, 0, 1, 2], "hold their channels last"],
  ])("pictures %j are turned for an input %j", (shape, input, expected, order, remark) => {
    const found = fitShape("d: x", shape, { name: "x", shape: input });
    expect(found.shape).toEqual(expected);
    // Axes of length 1 move without a change of the elements' order.
    if (order) expect(found.order).toEqual(order);
    if (remark) expect(found.remark).toContain(remark);
  });

  test.each([
    [[7, 4], ["N", 4, 7], "transpose the array, np.transpose(x, (0, 2, 1)); a reshape would scramble it"],
    [[48, 32, 3], ["N", 3, 32, 48], "np.transpose(x, (0, 3, 2, 1))"],
    [[7, 4], ["N", 4, 5], "save samples of that shape"],
  ])("samples %j for %j: what to do", (shape, input, advice) => {
    expect(() => fitShape("d: x", shape, { name: "x", shape: input })).toThrow(advice);
  });
});

describe("checkNumbers", () => {
  const range = (least: number, most: number, whole = true) => ({ least, most, whole });
  test.each([
    [
      "float",
      "int64",
      range(0, 1, false),
      'd: input "ids" of the model takes int64, but the array holds floats',
    ],
    ["integer", "uint8", range(0, 256), "takes uint8 (0 to 255), but the array holds 256"],
    ["integer", "int8", range(-129, 0), "takes int8 (-128 to 127), but the array holds -129"],
    ["integer", "bool", range(0, 2), "takes bool (0 and 1), but the array holds 2"],
    ["float", "float16", range(0, 7e4, false), "but the array holds 70000"],
    ["float", "float", range(0, 1e39, false), "but the array holds 1e+39"],
    ["integer", "int32", range(0, 2 ** 31), "but the array holds 2147483648"],
    ["integer", "string", range(0, 1), "takes string, to which data cannot be converted"],
  ] as const)("%s numbers into %s", (type, wanted, numbers, message) => {
    expect(() =>
      checkNumbers("d", { type, shape: [] }, numbers, { name: "ids", type: wanted, shape: [] }),
    ).toThrow(message);
  });

  test("whole floats and numbers of unknown range pass", () => {
    const input = { name: "ids", type: "int64", shape: [] } as const;
    expect(() => checkNumbers("d", { type: "float", shape: [] }, range(0, 9), input)).not.toThrow();
    expect(() => checkNumbers("d", { type: "integer", shape: [] }, undefined, input)).not.toThrow();
  });
});

describe("checkLabels", () => {
  const reader = (classes: number, ignoreIndex: number | "none" = "none") => ({
    ...{ objective: crossEntropy({ ignoreIndex }), prediction: [4, classes], batch: 4 },
  });
  const labelled = (y: Int32Array) => arrayDataset(x, y, [3], { name: "d" });

  test("accepts labels below the number of classes", () => {
    expect(() => checkLabels(data, reader(3))).not.toThrow();
    expect(() => checkLabels(data, reader(2))).toThrow(
      "d: y holds the label 2, but the model has 2 classes: give it more (--classes), use --ignore-index 2 if it marks positions to leave out",
    );
    expect(() => checkLabels(labelled(Int32Array.of(1, 2, 3, 1)), reader(3))).toThrow(
      "d: y holds the label 3, but the model has 3 classes: number them from 0, use --ignore-index",
    );
  });

  test("takes a cross-entropy of the caller's own without options, as plain JavaScript may give it", () => {
    const { options: _, ...own } = crossEntropy();
    const objective = own as Objective;
    expect(() => checkLabels(data, { ...reader(3), objective })).not.toThrow();
    expect(objectiveFor(objective, data)).toEqual({ objective });
  });

  test.each([-100, 255])("takes %d for what it is told it is", (label) => {
    const marked = labelled(Int32Array.of(0, label, 2, 1));
    expect(() => checkLabels(marked, reader(3))).toThrow(`--ignore-index ${label}`);
    expect(() => checkLabels(marked, reader(3, label))).not.toThrow();
    expect(() => checkLabels(marked, reader(2, label))).toThrow("holds the label 2");
  });

  test("refuses targets", () => {
    expect(() => checkLabels(arrayDataset(x, x.slice(0, 4), [3]), reader(3))).toThrow(
      "cross-entropy needs class labels",
    );
    // As many numbers as the model has classes: probabilities have an option, other numbers another loss.
    const numbers = (first: number) =>
      checkLabels(
        arrayDataset(
          x,
          Float32Array.from({ length: 12 }, (_, i) => (i ? 0 : first)),
          [3],
        ),
        reader(3),
      );
    expect(() => numbers(0.5)).toThrow("--labels probabilities");
    expect(() => numbers(-0.5)).toThrow("other numbers for mse");
  });
});
