import { describe, expect, it } from "vitest";
import type { DeclaredDim } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { inject } from "../../src/inject/inject.ts";
import { inspect } from "../../src/measure/inspect.ts";
import { weightAngles } from "../../src/measure/weight-angles.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { parsePlan } from "../../src/penalties/text.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomNormals } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";

/** Layers over a sequence, an image (two convolutions) and columns, each with lengths that the file may leave free. */
function layers(seq: DeclaredDim, height: DeclaredDim, width: DeclaredDim): Model {
  const b = new GraphBuilder(17);
  const x = b.input("x", [1, seq, 4]);
  const image = b.input("image", [1, 4, height, width]);
  const columns = b.input("columns", [6, seq]);
  b.op("MatMul", [x, b.weight("w", [4, 20])], "tokens");
  b.op("Conv", [image, b.weight("k", [16, 4, 3, 3])], "conv");
  b.op("Conv", [image, b.weight("g", [16, 2, 1, 1])], "grouped", { group: 2 });
  b.op("MatMul", [b.weight("v", [12, 6]), b.op("Relu", [columns], "positive")], "left");
  b.output(...["tokens", "conv", "grouped", "left"].map((name) => b.graph.valueNamed(name)));
  return Model.fromBytes(encodeModelProto(graphToProto(b.graph)));
}

const feeds = (seq: number, height: number, width: number) => ({
  x: Tensor.float("x", [1, seq, 4], randomNormals("x", seq * 4)),
  image: Tensor.float("image", [1, 4, height, width], randomNormals("image", 4 * height * width)),
  columns: Tensor.float("columns", [6, seq], randomNormals("columns", 6 * seq)),
});

describe("a block injected at given lengths holds at every other, where the file leaves them free", () => {
  for (const penalty of ["som", "som:maxRows=5", "som:center=true,scale=rms", "decov", "barlow", "vicreg"]) {
    it(penalty, async () => {
      const options = { penalties: [parsePlan(penalty)], perSite: true };
      const dims = { seq: 8, height: 5, width: 7 };
      const free = await inject(layers("seq", "height", "width"), { ...options, dims }, nodeProbe);
      for (const [seq, height, width] of [
        [3, 12, 9],
        [40, 4, 30],
      ] as const) {
        const x = feeds(seq, height, width);
        const fixed = await inject(layers(seq, height, width), options, nodeProbe);
        const [actual, expected] = [await runModel(free.bytes, x), await runModel(fixed.bytes, x)];
        for (const name of ["tokens", "conv", "grouped", "left"].map((layer) => `sorth_penalty/${layer}`)) {
          const [a, e] = [actual[name]?.numbers()[0] ?? Number.NaN, expected[name]?.numbers()[0] ?? 0];
          expect(Math.abs(a / e - 1), `${name} at ${seq}, ${height}×${width}`).toBeLessThan(1e-4);
        }
      }
    });
  }

  it("lengths of 1 and given for single axes too", async () => {
    const options = { penalties: [parsePlan("som")] };
    const dims = { "x.1": 1, "image.2": 3, "image.3": 3, "columns.1": 1 };
    const free = await inject(layers(undefined, undefined, undefined), { ...options, dims }, nodeProbe);
    const fixed = await inject(layers(9, 6, 5), options, nodeProbe);
    const [actual, expected] = [
      await runModel(free.bytes, feeds(9, 6, 5)),
      await runModel(fixed.bytes, feeds(9, 6, 5)),
    ];
    expect(actual.sorth_penalty?.numbers()[0]).toBeCloseTo(expected.sorth_penalty?.numbers()[0] ?? 0, 5);
  });

  it("a length that leaves a layer without responses is not built at", async () => {
    const b = new GraphBuilder(17);
    const frames = b.op("MatMul", [b.input("x", ["frames", 4]), b.weight("w", [4, 6])], "tokens");
    const image = b.op("Unsqueeze", [frames, b.int64("axes", [0, 1])], "image");
    b.output(b.op("Conv", [image, b.weight("k", [3, 1, 5, 6])], "conv"));
    const model = Model.fromBytes(encodeModelProto(graphToProto(b.graph)));
    const free = await inject(model, { penalties: [parsePlan("som")], batch: 4, perSite: true }, nodeProbe);
    const { "sorth_penalty/conv": penalty } = await runModel(free.bytes, {
      x: Tensor.float("x", [30, 4], randomNormals("frames", 120)),
    });
    expect(penalty?.numbers()[0]).toBeGreaterThan(0);
  });

  it("penalties on weights, inspection and weight angles need no lengths", async () => {
    const model = layers("seq", "height", "width");
    const { sites, advice } = await inspect(model, {}, nodeProbe);
    expect(sites.map(({ name, rows, units }) => [name, rows, units])).toEqual([
      ["tokens", undefined, 20],
      ["conv", undefined, 16],
      ["grouped", undefined, 16],
      ["left", undefined, 12],
    ]);
    expect(sites[0]?.penalties).toMatchObject({ so: true, som: expect.stringContaining("is not known") });
    expect(advice.join()).toContain("--dim seq=16 --dim height=224 --dim width=224");
    expect((await weightAngles(model, {}, nodeProbe)).layers).toHaveLength(4);
    const injected = await inject(model, { penalties: [parsePlan("so")] }, nodeProbe);
    const { sorth_penalty: penalty } = await runModel(injected.bytes, feeds(3, 5, 7));
    expect(penalty?.numbers()[0]).toBeGreaterThan(0);
    await expect(inject(model, { penalties: [parsePlan("som")] }, nodeProbe)).rejects.toThrow(
      "3 lengths of inputs are left open by the file: give them, for instance with --dim seq=16 --dim height=224 --dim width=224",
    );
  });

  it("a batch fixed at 0 is refused", async () => {
    const b = new GraphBuilder(17);
    b.output(b.op("MatMul", [b.input("x", [0, 4]), b.weight("w", [4, 6])], "y"));
    const model = Model.fromBytes(encodeModelProto(graphToProto(b.graph)));
    for (const batch of [{}, { batch: 4 }]) {
      await expect(inject(model, { penalties: [parsePlan("som")], ...batch }, nodeProbe)).rejects.toThrow(
        'input "x" has the length 0 on its first axis, so that no sample fits',
      );
    }
  });

  it("a length in place of one that the file fixes is refused", async () => {
    await expect(
      inject(layers(8, 5, 7), { penalties: [parsePlan("som")], dims: { "x.1": 4 } }, nodeProbe),
    ).rejects.toThrow('axis 1 of input "x" has the length 8, which the file fixes: leave --dim x.1 out');
  });
});
