import { describe, expect, it } from "vitest";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  buildStep,
  crossEntropy,
  encodeModel,
  freeBatch,
  inject,
  Model,
  readModel,
  som,
  verify,
} from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { uniform } from "../helpers/lcg.ts";
import { runModel } from "../helpers/run-model.ts";
import { fixture } from "../oracles/references.ts";

interface Single {
  readonly file: string;
  readonly block: string;
  readonly shape: readonly number[];
  /** By PyTorch in float64, for three samples at once. */
  readonly output: readonly number[];
}

const singles = fixture<readonly Single[]>("single/index.json");
const read = (file: string) => readModel(`test/fixtures/single/${file}`);

describe("exports of PyTorch for one sample", () => {
  it.each(singles.filter(({ file }) => !file.startsWith("centred")))(
    "$file takes three samples, as PyTorch computes them",
    async ({ file, block, shape, output }) => {
      const messages: string[] = [];
      const freed = await freeBatch(await read(file), { onMessage: (text) => messages.push(text) });
      expect(messages[0]).toMatch(/^free: axis \d of "[^"]+"; /);
      expect(messages[1]).toMatch(/^checked: 3 random samples at once/);
      const { graph } = freed.proto;
      const name = graph?.input?.[0]?.name ?? "";
      expect(graph?.output?.[0]?.type?.tensorType?.shape?.dim?.[0]?.dimParam).toBe("batch");
      const x = Tensor.float(
        name,
        [...shape],
        uniform(
          block,
          shape.reduce((a, b) => a * b),
        ),
      );
      const [y] = Object.values(await runModel(encodeModel(freed), { [name]: x }));
      expect(y?.dims[0]).toBe(3);
      y?.numbers().forEach((number, at) => {
        expect(number).toBeCloseTo(output[at] as number, 5);
      });
    },
  );

  it("takes a penalty on its responses and a larger batch afterwards", async () => {
    const single = await read("flat.script.onnx");
    const freed = await freeBatch(single);
    const injected = await inject(freed, { penalties: [som()] });
    expect((await verify(freed, injected)).passed).toBe(true);
    await expect(buildStep(single, { objective: crossEntropy(), batch: 8 })).rejects.toThrow("free it first");
    expect((await buildStep(freed, { objective: crossEntropy(), batch: 8 })).batch).toBe(8);
  });

  it("refuses a model that mixes samples, by the name of the operator", async () => {
    await expect(freeBatch(await read("centred.script.onnx"))).rejects.toThrow(
      'cannot be freed: ReduceMean "/ReduceMean" mixes samples or works on one alone',
    );
  });
});

describe("freeBatch", () => {
  /** y = x · w on x of that shape, behind what `build` adds. */
  const model = (shape: readonly (number | string)[], build: (b: GraphBuilder, x: Value) => Value): Model => {
    const b = new GraphBuilder(18);
    b.graph.addOutput(build(b, b.input("x", shape)));
    return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
  };
  const dense = (width: number) => (b: GraphBuilder, x: Value) =>
    b.op("MatMul", [x, b.weight("w", [width, 3])], "y");

  it.each([
    { what: "a free batch", of: model(["N", 4], dense(4)), error: "is free already" },
    {
      what: "a batch of 2",
      of: model([2, 4], dense(4)),
      error: "only a batch that is fixed at 1 can be freed",
    },
    {
      what: "one sample taken out",
      of: model([1, 4], (b, x) => dense(4)(b, b.op("Gather", [x, b.int64("first", 0)], "taken"))),
      error: 'Gather "taken" mixes samples',
    },
  ])("refuses $what", async ({ of, error }) => {
    await expect(freeBatch(of)).rejects.toThrow(error);
  });

  /** y ≈ 1 for every sample of a layer behind `build`. */
  const saturated = (build: (b: GraphBuilder, x: Value) => Value) => (b: GraphBuilder, x: Value) => {
    const tiny = b.op(
      "Mul",
      [dense(4)(b, build(b, x)), b.graph.addInitializer(Tensor.float("t", [], [1e-9]))],
      "z",
    );
    return b.op(
      "Sigmoid",
      [b.op("Add", [tiny, b.graph.addInitializer(Tensor.float("c", [], [30]))], "s")],
      "out",
    );
  };

  it("compares inner values where outputs are the same for all samples", async () => {
    const mixing = (b: GraphBuilder, x: Value) =>
      b.op("Add", [x, b.op("ReduceMax", [x, b.int64("axes", [0])], "most")], "added");
    await expect(freeBatch(model([1, 4], saturated(mixing)))).rejects.toThrow(
      'ReduceMax "most" mixes samples',
    );
    // Wrong by 1e-5 of the output, as far as the samples are from each other.
    const nearly = (b: GraphBuilder, x: Value) => {
      const tiny = b.graph.addInitializer(Tensor.float("t", [], [1e-5]));
      const one = b.graph.addInitializer(Tensor.float("one", [], [1]));
      return b.op("Add", [b.op("Mul", [dense(4)(b, mixing(b, x)), tiny], "z"), one], "out");
    };
    await expect(freeBatch(model([1, 4], nearly))).rejects.toThrow('ReduceMax "most" mixes samples');
    await expect(
      freeBatch(
        model(
          [1, 4],
          saturated((_, x) => x),
        ),
      ),
    ).resolves.toBeInstanceOf(Model);
    const nothing = (b: GraphBuilder, x: Value) =>
      b.op("Mul", [x, b.graph.addInitializer(Tensor.float("zero", [], [0]))], "nothing");
    await expect(freeBatch(model([1, 4], saturated(nothing)))).rejects.toThrow(
      'its output "out" is the same for all random samples, so that nothing can be checked',
    );
  });

  it("knows samples of sound from samples of data", async () => {
    const sound = model([1, "samples"], (b, x) => b.op("Neg", [x], "y"));
    const freed = await freeBatch(sound, { dims: { samples: 20 } });
    const dims = freed.proto.graph?.input?.[0]?.type?.tensorType?.shape?.dim ?? [];
    expect(dims.map(({ dimParam }) => dimParam)).toEqual(["batch", "samples"]);
  });

  it.each(["stored in the file", "computed by nodes, as PyTorch writes them without constant folding"])(
    "opens sizes of Resize that are %s, and keeps lengths that are free already",
    async (how) => {
      const lengths = (b: GraphBuilder, name: string, numbers: readonly number[]) => {
        if (how.startsWith("stored")) return b.int64(name, numbers);
        const parts = numbers.map((n, i) =>
          b.op(
            "Unsqueeze",
            [b.int64(`${name}.${i}`, n), b.int64(`${name}.${i}.axis`, [0])],
            `${name}.${i}.part`,
          ),
        );
        return b.op("Concat", parts, name, { axis: 0 });
      };
      const sizes = model([1, 2, "H", 4], (b, x) => {
        const resized = b.op("Resize", [x, null, null, lengths(b, "sizes", [1, 2, 6, 8])], "resized", {
          mode: "nearest",
        });
        const flat = b.op("Reshape", [resized, lengths(b, "shape", [1, -1])], "flat");
        return b.op("MatMul", [flat, b.weight("w", [96, 3])], "y");
      });
      const freed = await freeBatch(sizes, { dims: { H: 3 } });
      const dims = freed.proto.graph?.input?.[0]?.type?.tensorType?.shape?.dim ?? [];
      expect(dims.map(({ dimParam, dimValue }) => dimParam || Number(dimValue))).toEqual([
        "batch",
        2,
        "H",
        4,
      ]);
      const x = Tensor.float("x", [5, 2, 7, 4], uniform("sizes", 280));
      expect((await runModel(encodeModel(freed), { x })).y?.dims).toEqual([5, 3]);
    },
  );
});
