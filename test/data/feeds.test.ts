import { describe, expect, test } from "vitest";
import { namedDataset, type SampleArray } from "../../src/data/array-dataset.ts";
import { type Dataset, subset } from "../../src/data/dataset.ts";
import type { FeedPort } from "../../src/data/feed-array.ts";
import { DataFeeds, type FedPorts, type FeedOptions } from "../../src/data/feeds.ts";
import { objectiveFor } from "../../src/data/labels.ts";
import { crossEntropy } from "../../src/losses/cross-entropy.ts";
import type { DataTypeName } from "../../src/onnx/data-types.ts";
import { numberToFloat16 } from "../../src/onnx/small-types.ts";

const port = (name: string, type: DataTypeName, shape: readonly number[], batchAxis = 0): FeedPort => ({
  ...{ name, type, shape, batchAxis },
});
const numbers = (ports: FedPorts, data: Dataset, indices: number[], options: FeedOptions = {}) => {
  const feeds = new DataFeeds(ports, data, options);
  feeds.fill(indices);
  return new Map(
    [...feeds.tensors()].map(([name, { data }]) => [name, Array.from(data as Int32Array, Number)]),
  );
};
const labels: SampleArray = { data: Int32Array.of(2, 0, 1) };
const columns = (inputs: Record<string, SampleArray>, own = labels) =>
  namedDataset({ name: "d", inputs, labels: own });

describe("types", () => {
  const values = [0, 1, 1, 0, 1, 0];
  const sources: Record<string, SampleArray["data"]> = {
    ...{ int8: Int8Array.from(values), uint8: Uint8Array.from(values), int16: Int16Array.from(values) },
    ...{ uint16: Uint16Array.from(values), int32: Int32Array.from(values), uint32: Uint32Array.from(values) },
    ...{ int64: BigInt64Array.from(values, BigInt), uint64: BigUint64Array.from(values, BigInt) },
    ...{ float: Float32Array.from(values), double: Float64Array.from(values) },
  };
  const types = [...Object.keys(sources), "float16", "bool"] as DataTypeName[];

  test.each(types)("every array goes into an input of %s", (type) => {
    for (const data of Object.values(sources)) {
      const found = numbers(
        { data: [port("x", type, [2, 2])], labels: [] },
        columns({ x: { data, shape: [2] } }),
        [2, 0],
      );
      const expected = [1, 0, 0, 1].map((value) => (type === "float16" ? numberToFloat16(value) : value));
      expect(found.get("x")).toEqual(expected);
    }
  });

  test.each([
    ["uint8", Int32Array.of(0, 300, 0), "takes uint8 (0 to 255), but the array holds 300"],
    ["uint64", Int8Array.of(0, -1, 0), "takes uint64 (0 to 18446744073709552000), but the array holds -1"],
    ["int64", Float32Array.of(0, 0.5, 0), "the array holds floats"],
    ["float16", Float32Array.of(0, 1e6, 0), "but the array holds 1000000"],
    ["bfloat16", Float32Array.of(0, 1, 0), "takes bfloat16, to which data cannot be converted"],
  ] as const)("numbers that %s cannot hold are refused", (type, data, message) => {
    const make = () => new DataFeeds({ data: [port("x", type, [1])], labels: [] }, columns({ x: { data } }));
    expect(make).toThrow(message);
  });
});

describe("names", () => {
  const [a, b] = [Float32Array.of(1, 2, 3), Float32Array.of(10, 20, 30)];
  const two = {
    data: [port("b", "float", [2]), port("a", "float", [2])],
    labels: [port("labels", "int32", [2])],
  };

  test("each array goes into the input of its name, labels into theirs", () => {
    const found = numbers(two, columns({ a: { data: a }, b: { data: b } }), [2, 1]);
    expect([found.get("a"), found.get("b"), found.get("labels")]).toEqual([
      [3, 2],
      [30, 20],
      [1, 0],
    ]);
  });

  test.each([
    [
      { x: { data: a }, b: { data: b } },
      'no array belongs to the input "a" of the model (data); samples hold x [], b [], labels []',
    ],
    [{ a: { data: a } }, 'no array belongs to the input "b" of the model'],
    [{ y: { data: a }, z: { data: b } }, "save arrays under the names of their inputs"],
  ])("an input without an array is named (%#), and never fed with labels", (inputs, message) => {
    expect(() => new DataFeeds(two, columns(inputs))).toThrow(message);
  });

  test("arrays that nothing takes are said", () => {
    const told: string[] = [];
    const data = columns({ a: { data: a }, b: { data: b }, weight: { data: b } });
    new DataFeeds(two, data, { onMessage: (message) => told.push(message) });
    expect(told).toEqual(["d: arrays that the model does not take: weight"]);
  });

  test("one input of data takes x, whatever it is called; of several arrays, the one of its name", () => {
    const one = { data: [port("image", "float", [1])], labels: [] };
    expect(numbers(one, columns({ x: { data: a }, other: { data: b } }), [1]).get("image")).toEqual([2]);
    expect(numbers(one, columns({ x: { data: a }, image: { data: b } }), [1]).get("image")).toEqual([20]);
    expect(() => new DataFeeds(one, columns({ a: { data: a }, b: { data: b } }))).toThrow(
      "samples hold a [], b []",
    );
  });

  test("a part of the samples, and a dataset whose fill is replaced", () => {
    const data = columns({ a: { data: a }, b: { data: b } });
    const part = subset(data, Uint32Array.of(2, 1));
    expect(numbers(two, part, [1, 0]).get("b")).toEqual([20, 30]);
    const single = columns({ x: { data: a } });
    const doubled: Dataset = {
      ...single,
      fill(indices, x, y) {
        single.fill(indices, x, y);
        for (let i = 0; i < indices.length; i++) x[i] = (2 * Number(x[i])) as never;
      },
    };
    const ports = { data: [port("x", "float", [2])], labels: two.labels };
    expect(numbers(ports, doubled, [1, 2]).get("x")).toEqual([4, 6]);
  });
});

describe("layouts", () => {
  // sample n, time t, channel c: 100·n + 10·t + c
  const x = Float32Array.from(
    { length: 18 },
    (_, i) => 100 * Math.floor(i / 6) + 10 * (Math.floor(i / 2) % 3) + (i % 2),
  );

  test("samples on the second axis [time, sample, channel], two batches side by side", () => {
    const ports = { data: [port("x", "float", [3, 1, 2], 1)], labels: [port("labels", "int32", [1])] };
    const feeds = new DataFeeds(ports, columns({ x: { data: x, shape: [3, 2] } }), { batches: 2 });
    feeds.fill([1, 2]);
    const { dims, data } = feeds.tensors(2).get("x") ?? {};
    expect(dims).toEqual([2, 3, 1, 2]);
    expect([...(data as Float32Array)]).toEqual([100, 101, 110, 111, 120, 121, 200, 201, 210, 211, 220, 221]);
    const both = {
      ...ports,
      data: [port("x", "float", [3, 2, 2], 1)],
      labels: [port("labels", "int32", [2])],
    };
    const found = numbers(both, columns({ x: { data: x, shape: [3, 2] } }), [0, 2]);
    expect(found.get("x")).toEqual([0, 1, 200, 201, 10, 11, 210, 211, 20, 21, 220, 221]);
  });

  test("pictures with channels last are turned, and it is said", () => {
    // row r, column k, channel c of one sample: 100·r + 10·k + c
    const pictures = Float32Array.from(
      { length: 3 * 12 },
      (_, i) => 100 * (Math.floor(i / 6) % 2) + 10 * (Math.floor(i / 2) % 3) + (i % 2),
    );
    const told: string[] = [];
    const found = numbers(
      { data: [port("x", "float", [1, 2, 2, 3])], labels: [] },
      columns({ x: { data: pictures, shape: [2, 3, 2] } }),
      [1],
      { onMessage: (message) => told.push(message) },
    );
    expect(found.get("x")).toEqual([0, 10, 20, 100, 110, 120, 1, 11, 21, 101, 111, 121]);
    expect(told.join()).toContain(
      'hold their channels last, input "x" takes them first: transposed to [2, 2, 3]',
    );
  });

  test("inputs with other numbers of samples are refused", () => {
    const ports = { data: [port("a", "float", [2]), port("b", "float", [3])], labels: [] };
    const data = columns({ a: { data: Float32Array.of(1, 2, 3) }, b: { data: Float32Array.of(1, 2, 3) } });
    expect(() => new DataFeeds(ports, data)).toThrow("the model's inputs hold different numbers of samples");
  });
});

describe("labels", () => {
  const x: SampleArray = { data: new Float32Array(3) };
  const ports = (shape: readonly number[], type: DataTypeName = "int32", batch = 3) => ({
    ...{ data: [port("x", "float", [batch])], labels: [port("labels", type, shape)] },
  });
  const hot = [0, 0, 1, 1, 0, 0, 0, 1, 0];

  test.each([
    ["one each", { data: Uint8Array.of(2, 0, 1) }, [3], [2, 0, 1]],
    ["[N, 1]", { data: BigInt64Array.of(2n, 0n, 1n), shape: [1] }, [3], [2, 0, 1]],
    ["one-hot integers", { data: Int32Array.from(hot), shape: [3] }, [3], [2, 0, 1]],
    ["one-hot for labels of 64 bits", { data: Int32Array.from(hot), shape: [3] }, [3], [2, 0, 1], "int64"],
    ["one-hot floats", { data: Float64Array.from(hot), shape: [3] }, [3], [2, 0, 1]],
    ["by token", { data: Uint8Array.of(1, 2, 3, 4, 5, 6), shape: [2] }, [3, 2], [1, 2, 3, 4, 5, 6]],
    ["by token, as rows", { data: Uint8Array.of(1, 2, 3, 4, 5, 6), shape: [2] }, [6], [1, 2, 3, 4, 5, 6]],
    [
      "one-hot by token, classes last",
      { data: Uint8Array.from([0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0]), shape: [3, 2] },
      ...([
        [3, 3],
        [1, 0, 1, 1, 0, 0, 1, 1, 0],
      ] as const),
    ],
    ["whole numbers for a loss of floats", { data: Int16Array.of(-2, 0, 7) }, [3], [-2, 0, 7], "float"],
  ] as [string, SampleArray, number[], number[], DataTypeName?][])(
    "%s",
    (_, y, shape, expected, type = "int32") => {
      expect(numbers(ports(shape, type), columns({ x }, y), [0, 1, 2]).get("labels")).toEqual(expected);
    },
  );

  test("one-hot by token with the classes first", () => {
    // tokens of classes 1, 0, 1: [class 0: 0 1 0; class 1: 1 0 1]
    const y = { data: Uint8Array.from([0, 1, 0, 1, 0, 1]), shape: [2, 3] };
    const data = namedDataset({ name: "d", inputs: { x: { data: new Float32Array(1) } }, labels: y });
    expect(numbers(ports([1, 3], "int32", 1), data, [0]).get("labels")).toEqual([1, 0, 1]);
  });

  test.each([
    [
      { data: Float32Array.of(0.5, 0.5, 0.5, 0.5, 0.5, 0.5), shape: [2] },
      [3],
      'crossEntropy({ labels: "probabilities" })',
    ],
    [{ data: Int32Array.of(1, 1, 0, 1, 0, 1), shape: [2] }, [3], "one 1 among zeros"],
    [
      { data: Int32Array.from({ length: 21 }), shape: [7] },
      [3, 4],
      'labels of one sample have shape [7], but "labels" takes [4]',
    ],
  ])("what is none of them is refused (%#)", (y, shape, message) => {
    expect(() => numbers(ports(shape), columns({ x }, y), [0, 1, 2])).toThrow(message);
  });

  test("the cross-entropy takes the form that the labels need", () => {
    const of = (y: SampleArray, options = {}) =>
      objectiveFor(crossEntropy(options), columns({ x }, y)).objective.options;
    const shares = { data: Float32Array.of(0.2, 0.8, 0.5, 0.5, 1, 0), shape: [2] };
    expect(of(shares)).toMatchObject({ labels: "probabilities" });
    expect(of({ data: Float32Array.of(0, 1, 1, 0, 1, 0), shape: [2] })).toMatchObject({ labels: "classes" });
    expect(of({ data: Float32Array.of(0.2, 0.7, 0.5, 0.5, 1, 0), shape: [2] })).toMatchObject({
      labels: "classes",
    });
    expect(of({ data: Int32Array.of(0, 1, 1, 0, 1, 0), shape: [2] })).toMatchObject({ labelPlaces: 2 });
    expect(of(labels, { ignoreIndex: 1 })).toMatchObject({ labelPlaces: 0, ignoreIndex: 1 });
  });
});
