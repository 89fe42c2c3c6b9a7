import { describe, expect, test } from "vitest";
import { arrayDataset } from "../../src/data/array-dataset.ts";
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
  test("gives a model its data and labels in the types it declares", () => {
    const feeds = sampleFeeds(modelWith({ x: "double", labels: "int64" }), data, 2);
    expect([...feeds.keys()]).toEqual(["x", "labels"]);
    const [x, labels] = [feeds.get("x"), feeds.get("labels")];
    expect([x?.type, x?.dims, x?.data]).toEqual(["double", [2, 4], Float64Array.of(0, 1, 2, 3, 4, 5, 6, 7)]);
    expect([labels?.type, labels?.dims, labels?.data]).toEqual(["int64", [2], BigInt64Array.of(2n, 0n)]);
  });

  test("takes all samples where there are fewer, and no labels where none are read", () => {
    const feeds = sampleFeeds(modelWith({ x: "float" }), data, 100);
    expect([feeds.size, feeds.get("x")?.dims]).toEqual([1, [3, 4]]);
  });

  test("refuses types and inputs that data cannot fill", () => {
    expect(() => sampleFeeds(modelWith({ x: "float", y: "float", z: "float" }), data, 1)).toThrow(
      'd: no array belongs to the input "z" of the model',
    );
    expect(() => sampleFeeds(modelWith({ x: "int64" }), fractions, 1)).toThrow("the array holds floats");
  });
});
