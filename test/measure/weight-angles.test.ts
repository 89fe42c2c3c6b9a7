import { describe, expect, test } from "vitest";
import type { LayerWeightAngles } from "../../src/measure/angle-report.ts";
import { convolutionSpectrum } from "../../src/measure/convolution-spectrum.ts";
import { responseAngles } from "../../src/measure/response-angles.ts";
import { isComputed } from "../../src/measure/spectrum.ts";
import { type WeightAngleOptions, weightAngles } from "../../src/measure/weight-angles.ts";
import type { Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats, randomNormals } from "../helpers/numbers.ts";
import { gemmOf, modelOf, sample } from "./layer-models.ts";

describe("weightAngles", () => {
  test("known columns", async () => {
    const model = gemmOf([
      [1, 0, 0],
      [0, 2, 0],
      [0, 0, 0],
      [1, 1, 0],
    ]);
    const { layers, skipped } = await weightAngles(model, {}, nodeProbe);
    expect(skipped).toEqual([]);
    const [layer] = layers;
    expect(layer).toMatchObject({ name: "y", op: "Gemm", units: 4, fanIn: 3, groups: 1, pairs: 3, dead: 1 });
    // 90°, 45°, 45°
    expect(layer?.mean).toBeCloseTo(60, 5);
    expect(layer?.spread).toBeCloseTo(Math.sqrt(450), 5);
    expect([layer?.min, layer?.max].map((angle) => Math.round(angle ?? 0))).toEqual([45, 90]);
  });

  test("untrained layers of many inputs look random", async () => {
    const { layers } = await weightAngles(sample("mlp.onnx"), {}, nodeProbe);
    expect(layers.map(({ name, units, fanIn }) => [name, units, fanIn])).toEqual([
      ["fc1", 128, 784],
      ["fc2", 64, 128],
      ["logits", 10, 64],
    ]);
    for (const { mean, spread, random, pairs } of layers) {
      // Standard errors of the mean and of the spread of that many pairs.
      expect(Math.abs(mean - 90)).toBeLessThan((3 * random) / Math.sqrt(pairs));
      expect(Math.abs(spread / random - 1)).toBeLessThan(3 / Math.sqrt(2 * pairs));
    }
  });

  test("a weight behind Transpose, Reshape and DequantizeLinear is computed by ONNX Runtime", async () => {
    const stored = Int8Array.of(1, 0, 0, 1, 1, 1); // [3, 2]: units are rows
    const expected = await weightAngles(
      gemmOf([
        [0.5, 0],
        [0, 0.5],
        [0.5, 0.5],
      ]),
      {},
      nodeProbe,
    );
    const b = new GraphBuilder();
    const w = b.graph.addInitializer(Tensor.of("w", "int8", [6], stored));
    const scale = b.graph.addInitializer(Tensor.float("scale", [], [0.5]));
    const float = b.op("DequantizeLinear", [w, scale], "float");
    const matrix = b.op("Reshape", [float, b.int64("shape", [3, 2])], "matrix");
    const turned = b.op("Transpose", [matrix], "turned", { perm: [1, 0] });
    const graph = b.output(b.op("MatMul", [b.input("x", ["batch", 2]), turned], "y"));
    const { layers } = await weightAngles(modelOf(graph), {}, nodeProbe);
    expect(layers[0]).toEqual({ ...expected.layers[0], op: "MatMul" });
  });

  test("weights that are fed or not finite are skipped with the reason", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", ["batch", 3]);
    const fed = b.op("Gemm", [x, b.input("fed.weight", [3, 3])], "fed");
    const nan = b.graph.addInitializer(Tensor.float("nan", [3, 2], [1, 2, 3, Number.NaN, 5, 6]));
    const graph = b.output(b.op("Gemm", [fed, nan], "broken"));
    const { layers, skipped } = await weightAngles(modelOf(graph), {}, nodeProbe);
    expect(layers).toEqual([]);
    expect(skipped.map(({ name, reason }) => [name, reason])).toEqual([
      ["fed", "its weight is an input of the model"],
      ["broken", "its weight holds NaN or Infinity"],
    ]);
  });
});

describe("weightAngles, further figures", () => {
  const first = async (model: Model, options: WeightAngleOptions = {}) => {
    const { layers, skipped } = await weightAngles(model, options, nodeProbe);
    expect(skipped).toEqual([]);
    return layers[0] as LayerWeightAngles;
  };

  test("of known columns", async () => {
    const layer = await first(
      gemmOf([
        [3, 0, 0],
        [0, 1, 0],
        [0, 0, 2],
      ]),
    );
    expect(layer).toMatchObject({
      ...{ welchBound: 0, coherence: 0, meanAbsoluteCosine: 0, cosineSpread: 0 },
      orthogonality: { normalized: 0, normalizedBound: 0 },
      spectrum: { count: 3, largest: 3, smallest: 1, condition: 3, rank: 3 },
    });
    expect(layer.orthogonality.deviation).toBeCloseTo(Math.hypot(8, 3), 12);
    expect(layer.randomCosine).toBeCloseTo(1 / Math.sqrt(3), 12);
    const { spectrum } = layer;
    if (!spectrum || !isComputed(spectrum)) throw new Error("no spectrum");
    expect(spectrum.stableRank).toBeCloseTo(14 / 9, 12);
    expect(spectrum.effectiveRank).toBeCloseTo(
      2 ** (0.5 * Math.log2(2) + Math.log2(6) / 6 + Math.log2(3) / 3),
      12,
    );
  });

  test("three units in the plane 120° apart reach both bounds", async () => {
    const turned = (degrees: number) => [
      Math.cos((degrees * Math.PI) / 180),
      Math.sin((degrees * Math.PI) / 180),
    ];
    const { welchBound, coherence, orthogonality } = await first(
      gemmOf([turned(0), turned(120), turned(240)]),
    );
    expect(coherence).toBeCloseTo(welchBound, 6);
    expect(orthogonality.normalized).toBeCloseTo(orthogonality.normalizedBound, 6);
  });

  test("the weight vectors, if asked for", async () => {
    const model = gemmOf([[1, 2], [3, 4], [5, 6]]); // biome-ignore format: columns
    expect([...((await first(model, { vectors: true })).vectors ?? [])]).toEqual([1, 2, 3, 4, 5, 6]);
    expect((await first(model)).vectors).toBeUndefined();
  });

  test("spectra can be left out", async () => {
    const layer = await first(gemmOf([[1, 0], [1, 1]]), { spectra: false }); // biome-ignore format: columns
    expect([layer.spectrum, layer.convolution, "spectrum" in layer]).toEqual([undefined, undefined, false]);
  });

  test("a layer whose batch is fixed at one sample has weight angles", async () => {
    const b = new GraphBuilder();
    const model = modelOf(b.output(b.op("Gemm", [b.input("x", [1, 3]), b.weight("w", [3, 4])], "y")));
    expect((await first(model)).pairs).toBe(6);
    const x = Tensor.of("x", "float", [1, 3], randomFloats("x", 3));
    const { skipped } = await responseAngles(model, { x }, {}, nodeProbe);
    expect(skipped.map(({ reason }) => reason)).toEqual(["one row of responses: angles need at least two"]);
  });

  test("one unit, and units that see other channels, have no angles", async () => {
    const b = new GraphBuilder();
    const depthwise = b.op("Conv", [b.input("x", ["batch", 4, 6]), b.weight("c", [4, 1, 3])], "own", {
      group: 4,
    });
    const one = b.op("MatMul", [depthwise, b.weight("m", [4, 1])], "one");
    const { layers, skipped } = await weightAngles(modelOf(b.output(one)), {}, nodeProbe);
    expect(layers).toEqual([]);
    expect(skipped.map(({ name, reason }) => [name, reason])).toEqual([
      ["own", "depthwise: each of its 4 units sees other channels"],
      ["one", "one unit has no pairs"],
    ]);
  });

  test("a layer of zeros: all units dead, nothing that could be divided by", async () => {
    const layer = await first(gemmOf([[0, 0], [0, 0]])); // biome-ignore format: columns
    expect(layer).toMatchObject({ dead: 2, deadUnits: [0, 1], pairs: 0, coherence: NaN, cosineSpread: NaN });
    expect(layer.orthogonality).toMatchObject({ deviation: Math.SQRT2, normalized: Math.SQRT2 });
    expect(layer.spectrum).toMatchObject({ largest: 0, condition: NaN, rank: 0 });
  });

  test("of more than 4,096 units a seeded sample is taken, and said, unless all are asked for", async () => {
    const units = 5000;
    const b = new GraphBuilder();
    const data = randomNormals("wide", 3 * units);
    // Unit 7 is dead.
    for (let row = 0; row < 3; row++) data[row * units + 7] = 0;
    const w = b.graph.addInitializer(Tensor.of("w", "float", [3, units], data));
    const model = modelOf(b.output(b.op("MatMul", [b.input("x", ["batch", 3]), w], "y")));
    const sampled = await first(model, { mapSize: 8 });
    expect(sampled).toMatchObject({ units, sampledUnits: 4096, deadUnits: [7] });
    expect(sampled.cosineMap?.size).toBe(8);
    expect(await first(model, { mapSize: 8 })).toEqual(sampled);
    const full = await first(model, { full: true });
    expect(full.sampledUnits).toBeUndefined();
    expect(full.pairs).toBe(((units - 1) * (units - 2)) / 2);
    expect(sampled.mean).toBeCloseTo(full.mean, 1);
    expect(sampled.spread).toBeCloseTo(full.spread, 0);
    // The deviation needs no pairs: it follows from the singular values.
    expect(sampled.orthogonality.deviation / full.orthogonality.deviation).toBeCloseTo(1, 10);
    expect(sampled.orthogonality.normalized).toBeNaN();
    expect(full.orthogonality.normalized).toBeGreaterThan(full.orthogonality.normalizedBound);
    for (const pairs of [sampled.duplicates, full.duplicates]) {
      for (const [i, j] of pairs.first) {
        const cosine = (a: number, c: number) =>
          [0, 1, 2].reduce(
            (sum, row) => sum + (data[row * units + a] ?? 0) * (data[row * units + c] ?? 0),
            0,
          );
        expect(cosine(i, j) / Math.sqrt(cosine(i, i) * cosine(j, j))).toBeGreaterThan(1 - 2e-6);
      }
    }
  });

  test("spectra that take long are left out with the reason, or worked out for a smaller image", async () => {
    const b = new GraphBuilder();
    const wide = b.op("Conv", [b.input("x", [1, 64, 40, 40]), b.weight("w", [64, 64, 3, 3])], "wide");
    const model = modelOf(b.output(wide));
    const { convolution } = await first(model);
    if (!convolution || !isComputed(convolution)) throw new Error("no spectrum");
    expect(convolution).toMatchObject({ inputSize: [40, 40], grid: [20, 20], count: 64 * 20 * 20 });
    const { spectrum } = await first(gemmOf(Array.from({ length: 1500 }, () => new Array(1500).fill(1))));
    expect(spectrum).toEqual({
      notComputed:
        "singular values of 1500 units of 1500 take about 2 s: ask for them with --full (full: true)",
    });
  });

  test("small blocks at many positions count as what they take", () => {
    const size = 4096;
    const convolution = { kernel: [1], units: 1, channels: 1, groups: 1, window: [1], strides: [1] };
    const found = convolutionSpectrum({ ...convolution, dilations: [1], inputSize: [size] }, 30_000 * 128);
    expect(found).toMatchObject({ inputSize: [size], grid: [128] });
  });

  test("a stride that does not divide the image has no circular form", async () => {
    const b = new GraphBuilder();
    const w = b.weight("w", [4, 2, 3]);
    const y = b.op("Conv", [b.input("x", ["batch", 2, 7]), w], "y", { strides: [2] });
    const { convolution } = await first(modelOf(b.output(y)));
    expect(convolution).toEqual({
      notComputed:
        "the stride 2 does not divide the 7 positions of its input: with circular padding no such convolution is invariant to shifts",
    });
  });
});
