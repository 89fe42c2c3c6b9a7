import { describe, expect, test } from "vitest";
import { arrayDataset, namedDataset, type SampleArray } from "../../src/data/array-dataset.ts";
import { sampleFeeds } from "../../src/data/sample-feeds.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { Model } from "../../src/onnx/model.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

const data = arrayDataset(
  Float32Array.from({ length: 12 }, (_, i) => i),
  Uint8Array.of(2, 0, 1),
  [2, 2],
  {
    name: "d",
  },
);

const fractions = arrayDataset(Float32Array.of(0.5, 1, 2, 3), Uint8Array.of(0), [4], { name: "d" });

const columns = (inputs: Record<string, SampleArray>) =>
  namedDataset({ name: "d", inputs, labels: { data: Int32Array.of(2, 0, 1) } });

/** A model with these inputs of a type each. */
function modelWith(inputs: Record<string, "float" | "double" | "int32" | "int64" | "float16">): Model {
  const b = new GraphBuilder();
  const values = Object.entries(inputs).map(([name, type], i) =>
    b.input(name, i === 0 ? ["batch", 4] : ["batch"], type),
  );
  return Model.fromProto(
    graphToProto(b.output(...values.map((value, i) => b.op("Identity", [value], `y${i}`)))),
  );
}

describe("sampleFeeds", () => {
  test("gives a model its data and labels in the types it declares", async () => {
    const feeds = await sampleFeeds(modelWith({ x: "double", labels: "int64" }), data, 2);
    expect([...feeds.keys()]).toEqual(["x", "labels"]);
    const [x, labels] = [feeds.get("x"), feeds.get("labels")];
    expect([x?.type, x?.dims, x?.data]).toEqual(["double", [2, 4], Float64Array.of(0, 1, 2, 3, 4, 5, 6, 7)]);
    expect([labels?.type, labels?.dims, labels?.data]).toEqual(["int64", [2], BigInt64Array.of(2n, 0n)]);
  });

  test("takes all samples where there are fewer, and no labels where none are read", async () => {
    const feeds = await sampleFeeds(modelWith({ x: "float" }), data, 100);
    expect([feeds.size, feeds.get("x")?.dims]).toEqual([1, [3, 4]]);
  });

  test("refuses types and inputs that data cannot fill", async () => {
    await expect(sampleFeeds(modelWith({ x: "float", y: "float", z: "float" }), data, 1)).rejects.toThrow(
      'd: no array belongs to the input "z" of the model',
    );
    await expect(sampleFeeds(modelWith({ x: "int64" }), fractions, 1)).rejects.toThrow(
      "the array holds floats",
    );
  });

  /** y = (x ∘ t)·w, and what follows. */
  function timed(end: "prediction" | "loss"): Model {
    const b = new GraphBuilder(17);
    const scaled = b.op("Mul", [b.input("x", ["N", 2]), b.input("t", ["N", 1])], "u");
    const scores = b.op("MatMul", [scaled, b.weight("w", [2, 3])], "scores");
    const output =
      end === "loss"
        ? b.op("SoftmaxCrossEntropyLoss", [scores, b.input("truth", ["N"], "int64")], "loss")
        : scores;
    return Model.fromProto(graphToProto(b.output(output), { irVersion: 8 }));
  }
  const x = { data: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [2] };
  const t = { data: Float32Array.of(0.5, 0.25, 1), shape: [1] };

  test("labels never go into an input that a layer reads; into one of labels they do, under any name", async () => {
    await expect(sampleFeeds(timed("prediction"), columns({ x }), 2)).rejects.toThrow(
      'no array belongs to the input "t"',
    );
    await expect(sampleFeeds(timed("loss"), columns({ x }), 2)).rejects.toThrow(
      'no array belongs to the input "t"',
    );
    const feeds = await sampleFeeds(timed("loss"), columns({ x, t }), 2);
    expect([...feeds].map(([name, { data }]) => [name, Array.from(data as Float32Array, Number)])).toEqual([
      ["x", [1, 2, 3, 4]],
      ["t", [0.5, 0.25]],
      ["truth", [2, 0]],
    ]);
    expect([...(await sampleFeeds(timed("prediction"), columns({ x, t }), 2)).keys()]).toEqual(["x", "t"]);
  });

  test("samples lie on the axis that the model counts them on", async () => {
    const b = new GraphBuilder(17);
    const input = b.input("x", [2, "batch_size", 1]);
    const model = Model.fromProto(graphToProto(b.output(b.op("Relu", [input], "y"))));
    const feeds = await sampleFeeds(
      model,
      columns({ x: { data: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [2, 1] } }),
      3,
    );
    expect([feeds.get("x")?.dims, feeds.get("x")?.numbers()]).toEqual([
      [2, 3, 1],
      [1, 3, 5, 2, 4, 6],
    ]);
  });
});

describe("pixels", () => {
  const bytes: SampleArray = { data: Uint8Array.of(0, 51, 255, 102, 0, 0), shape: [2] };
  const picture = (scaling?: "Div" | "Sub") => {
    const b = new GraphBuilder(17);
    const input = b.input("x", ["N", 2]);
    const pixels = scaling
      ? b.op(
          scaling,
          [b.op("Identity", [input], "same"), b.op("Constant", [], "c", { value_float: 123.675 })],
          "scaled",
        )
      : input;
    return Model.fromProto(
      graphToProto(b.output(b.op("MatMul", [pixels, b.weight("w", [2, 3])], "y")), { irVersion: 8 }),
    );
  };
  const fed = async (model: Model, x: SampleArray, options: Parameters<typeof sampleFeeds>[3] = {}) => {
    const told: string[] = [];
    const feeds = await sampleFeeds(model, columns({ x }), 3, {
      onMessage: (message) => told.push(message),
      ...options,
    });
    return { x: feeds.get("x")?.numbers(), told: told.join() };
  };
  const scaled = [0, 51, 255, 102, 0, 0].map((value) => Math.fround(value / 255));
  const raw = [0, 51, 255, 102, 0, 0];

  test.each([
    [
      "bytes are divided by 255",
      picture(),
      bytes,
      {},
      scaled,
      "x holds pixels 0 … 255: divided by 255 (--normalize none takes them as they are)",
    ],
    ["unless told not to", picture(), bytes, { normalize: "none" }, raw, ""],
    [
      "unless the model divides",
      picture("Div"),
      bytes,
      {},
      raw,
      'the model scales itself (Div "scaled"): taken as they are',
    ],
    ["unless the model subtracts a mean", picture("Sub"), bytes, {}, raw, "the model scales itself (Sub"],
    [
      "small bytes are no pixels",
      picture(),
      { data: Uint8Array.of(0, 1, 16, 2, 0, 0), shape: [2] },
      {},
      [0, 1, 16, 2, 0, 0],
      "",
    ],
    [
      "floats when asked",
      picture(),
      { data: Float32Array.from(raw), shape: [2] },
      { normalize: "0..1" },
      scaled,
      "",
    ],
  ] as const)("%s", async (_, model, x, options, expected, remark) => {
    const found = await fed(model, x, options);
    expect(found.x).toEqual(expected);
    expect(found.told).toContain(remark);
    if (remark === "") expect(found.told).toBe("");
  });

  test("floats that are pixels are left and said; other floats are not divided", async () => {
    const b = new GraphBuilder(17);
    const model = Model.fromProto(graphToProto(b.output(b.op("Relu", [b.input("x", ["N", 1, 2])], "y"))));
    expect(await fed(model, { data: Float32Array.from(raw), shape: [1, 2] })).toMatchObject({
      x: raw,
      told: expect.stringContaining("as floats, taken as they are: --normalize 0..1 divides them by 255"),
    });
    const normal = { data: Float32Array.of(-1, 0, 2, 1, 0, 0), shape: [2] };
    await expect(fed(picture(), normal, { normalize: "0..1" })).rejects.toThrow(
      "x holds numbers from -1 to 2; leave the option out",
    );
  });
});
