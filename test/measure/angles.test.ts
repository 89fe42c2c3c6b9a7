import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Graph } from "../../src/graph/graph.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import type { LayerWeightAngles } from "../../src/measure/angle-report.ts";
import { responseAngles } from "../../src/measure/response-angles.ts";
import { isComputed } from "../../src/measure/spectrum.ts";
import { type WeightAngleOptions, weightAngles } from "../../src/measure/weight-angles.ts";
import { decodeModel, Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats, randomNormals } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";

const sample = (name: string) =>
  decodeModel(new Uint8Array(readFileSync(new URL(`../../models/${name}`, import.meta.url))));
const modelOf = (graph: Graph) => Model.fromProto(graphToProto(graph));

/** A Gemm y = x·w of given columns, in the attribute-free form. */
function gemmOf(columns: number[][]): Model {
  const b = new GraphBuilder();
  const rows = columns[0]?.length ?? 0;
  const data = Array.from({ length: rows }, (_, i) => columns.map((column) => column[i] ?? 0)).flat();
  const w = b.graph.addInitializer(Tensor.float("w", [rows, columns.length], data));
  return modelOf(b.output(b.op("Gemm", [b.input("x", ["batch", rows]), w], "y")));
}

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
        "singular values of 1500 units of 1500 take about 3 s: ask for them with --full (full: true)",
    });
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

describe("responseAngles", () => {
  /** Response angles of a response [rows][units] within groups, in float64. */
  function reference(rows: number[][], gamma: number, groups = 1): number[] {
    const units = rows[0]?.length ?? 0;
    const t = Array.from({ length: units }, (_, unit) =>
      rows.map((row) => Math.tanh(gamma * (row[unit] ?? 0))),
    );
    const dot = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0);
    return t.flatMap((a, i) =>
      t.flatMap((b, j) => {
        if (j <= i || Math.floor((i * groups) / units) !== Math.floor((j * groups) / units)) return [];
        return [90 * (1 - dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)))];
      }),
    );
  }

  const meanOf = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const spreadOf = (values: number[]) =>
    Math.sqrt(meanOf(values.map((value) => (value - meanOf(values)) ** 2)));

  /** Responses of a layer as [rows][units], taken out of the model by making them its output. */
  async function responses(model: Model, layer: string, feed: Tensor, unitAxis: number): Promise<number[][]> {
    const graph = graphOf(model);
    const value = graph.nodes.find((node) => node.name === layer)?.outputs[0];
    if (!value) throw new Error(`no layer ${layer}`);
    graph.outputs.splice(0, Number.POSITIVE_INFINITY, value);
    const y = Object.values(await runModel(graph, { [feed.name]: feed }))[0];
    const dims = y?.dims ?? [];
    const units = dims[unitAxis] ?? 0;
    const inner = dims.slice(unitAxis + 1).reduce((product, dim) => product * dim, 1);
    const rows = Array.from({ length: (y?.size ?? 0) / units }, () => new Array<number>(units).fill(0));
    y?.numbers().forEach((value, at) => {
      const row = Math.floor(at / (inner * units)) * inner + (at % inner);
      (rows[row] as number[])[Math.floor(at / inner) % units] = value;
    });
    return rows;
  }

  test("agrees with the formula on every layer of the CNN, in one chunk or several", async () => {
    const model = sample("cnn.onnx");
    const x = Tensor.of("x", "float", [5, 1, 28, 28], randomNormals("cnn x", 5 * 784));
    const whole = await responseAngles(model, { x }, {}, nodeProbe);
    const parts = await responseAngles(model, { x }, { batch: 2 }, nodeProbe);
    expect(whole.layers.map(({ name, rows }) => [name, rows])).toEqual([
      ["conv1", 980],
      ["conv2", 980],
      ["conv3", 980],
      ["conv4", 245],
      ["conv5", 245],
      ["logits", 5],
    ]);
    for (const [index, layer] of whole.layers.entries()) {
      const rows = await responses(model, layer.name, x, 1);
      const angles = reference(rows, 10);
      expect(layer.pairs).toBe(angles.length);
      for (const { mean, spread, min, max } of [layer, parts.layers[index] ?? layer]) {
        // A deviation of 1e-3 degrees is 1e-5 in the cosine: float32 sums.
        expect(mean).toBeCloseTo(meanOf(angles), 3);
        expect(spread).toBeCloseTo(spreadOf(angles), 3);
        expect(min).toBeCloseTo(Math.min(...angles), 2);
        expect(max).toBeCloseTo(Math.max(...angles), 2);
      }
      expect(parts.layers[index]?.rows).toBe(layer.rows);
    }
  });

  test("groups, units on the last axis, gamma", async () => {
    const b = new GraphBuilder();
    const x = b.input("x", ["batch", 4, 6]);
    const grouped = b.op("Conv", [x, b.weight("c", [6, 2, 3])], "grouped", { group: 2 });
    const model = modelOf(b.output(b.op("MatMul", [grouped, b.weight("m", [4, 5])], "last")));
    const feed = Tensor.of("x", "float", [7, 4, 6], randomFloats("x", 168));
    const { layers } = await responseAngles(model, { x: feed }, { gamma: 2, batch: 3 }, nodeProbe);
    const expected = [
      reference(await responses(model, "grouped", feed, 1), 2, 2),
      reference(await responses(model, "last", feed, 2), 2),
    ];
    expect(layers.map(({ pairs, rows }) => [pairs, rows])).toEqual([
      [6, 28],
      [10, 42],
    ]);
    layers.forEach(({ mean, spread }, i) => {
      expect(mean).toBeCloseTo(meanOf(expected[i] ?? []), 3);
      expect(spread).toBeCloseTo(spreadOf(expected[i] ?? []), 3);
    });
  });

  test("the matrices of cosines, group by group, 0 beside a dead unit", async () => {
    const b = new GraphBuilder();
    const kernel = randomFloats("cosines", 6 * 2);
    kernel.fill(0, 2, 4);
    const w = b.graph.addInitializer(Tensor.of("w", "float", [6, 2, 1], kernel));
    const y = b.op("Conv", [b.input("x", ["batch", 4, 3]), w], "y", { group: 2 });
    const model = modelOf(b.output(y));
    const x = Tensor.of("x", "float", [5, 4, 3], randomFloats("x", 60));
    const { layers } = await responseAngles(model, { x }, { cosines: true }, nodeProbe);
    const rows = await responses(model, "y", x, 1);
    const t = Array.from({ length: 6 }, (_, unit) => rows.map((row) => Math.tanh(10 * (row[unit] ?? 0))));
    const dot = (a: number[], c: number[]) => a.reduce((sum, value, i) => sum + value * (c[i] ?? 0), 0);
    const cosines = layers[0]?.cosines ?? [];
    expect(cosines.length).toBe(18);
    for (let group = 0; group < 2; group++) {
      for (let i = 0; i < 3; i++) {
        for (let j = 0; j < 3; j++) {
          const [p = [], q = []] = [t[group * 3 + i], t[group * 3 + j]];
          const scale = Math.sqrt(dot(p, p) * dot(q, q));
          expect(cosines[(group * 3 + i) * 3 + j]).toBeCloseTo(scale > 0 ? dot(p, q) / scale : 0, 5);
        }
      }
    }
    expect(layers[0]?.deadUnits).toEqual([1]);
  });

  test("a model of fixed batch is run in whole batches, and the rest is left out", async () => {
    const b = new GraphBuilder();
    const model = modelOf(b.output(b.op("Gemm", [b.input("x", [4, 3]), b.weight("w", [3, 2])], "y")));
    const data = randomFloats("fixed", 30);
    const run = (count: number) =>
      responseAngles(
        model,
        { x: Tensor.of("x", "float", [count, 3], data.slice(0, 3 * count)) },
        {},
        nodeProbe,
      );
    const [ten, eight] = [await run(10), await run(8)];
    expect(ten.layers[0]?.rows).toBe(8);
    expect(ten).toEqual(eight);
    await expect(run(3)).rejects.toThrow("the model fixes its batch at 4 samples, but only 3 were given");
  });

  test("a second input without a batch is fed whole", async () => {
    const b = new GraphBuilder();
    const [x, scale] = [b.input("x", ["batch", 3]), b.input("scale", [3])];
    const scaled = b.op("Mul", [x, scale], "scaled");
    const model = modelOf(b.output(b.op("Gemm", [scaled, b.weight("w", [3, 2])], "y")));
    const feeds = {
      x: Tensor.of("x", "float", [6, 3], randomFloats("x", 18)),
      scale: Tensor.of("scale", "float", [3], Float32Array.of(1, 2, 3)),
    };
    const { layers } = await responseAngles(model, feeds, { batch: 4 }, nodeProbe);
    expect(layers[0]?.rows).toBe(6);
  });

  test("a free axis other than the batch takes its length from the data", async () => {
    const b = new GraphBuilder();
    const model = modelOf(
      b.output(b.op("MatMul", [b.input("x", ["batch", "length", 3]), b.weight("w", [3, 2])], "y")),
    );
    const x = Tensor.of("x", "float", [2, 5, 3], randomFloats("x", 30));
    expect((await responseAngles(model, { x }, {}, nodeProbe)).layers[0]?.rows).toBe(10);
  });

  test.each([
    [{}, 'input "x" of the model was given no data'],
    [
      {
        x: Tensor.of("x", "float", [2, 3], new Float32Array(6)),
        z: Tensor.of("z", "float", [], Float32Array.of(1)),
      },
      'the model has no input "z" to feed; it has x',
    ],
    [
      { x: Tensor.of("x", "float", [2, 4], new Float32Array(8)) },
      'input "x" of the model takes float [batch, 3], but was given float [2, 4]',
    ],
    [
      { x: Tensor.of("x", "double", [2, 3], new Float64Array(6)) },
      'input "x" of the model takes float [batch, 3], but was given double [2, 3]',
    ],
  ])("refuses data that does not fit (%#)", async (data: Record<string, Tensor>, message) => {
    const model = gemmOf([
      [1, 0, 0],
      [0, 2, 0],
    ]);
    await expect(responseAngles(model, data, {}, nodeProbe)).rejects.toThrow(message);
  });

  test("responses that are not finite are skipped with the reason", async () => {
    const model = gemmOf([
      [1, 0],
      [0, 2],
    ]);
    const x = Tensor.of("x", "float", [3, 2], Float32Array.of(1, 2, Number.NaN, 4, 5, 6));
    const { layers, skipped } = await responseAngles(model, { x }, {}, nodeProbe);
    expect(layers).toEqual([]);
    expect(skipped).toEqual([{ name: "y", op: "Gemm", reason: "its responses hold NaN" }]);
    await expect(responseAngles(model, { x }, { gamma: 0 }, nodeProbe)).rejects.toThrow(
      "gamma must be above 0",
    );
  });
});
