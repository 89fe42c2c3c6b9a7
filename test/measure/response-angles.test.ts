import { describe, expect, test } from "vitest";
import type { Probe } from "../../src/analysis/probe.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import { responseAngles } from "../../src/measure/response-angles.ts";
import type { Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats, randomNormals } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";
import { gemmOf, modelOf, sample } from "./layer-models.ts";

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

  test("of a large network, as many samples take part as the limit of multiplications allows", async () => {
    const b = new GraphBuilder();
    b.output(b.op("MatMul", [b.input("x", ["batch", 4]), b.weight("w", [4, 3])], "y"));
    const [model, numbers] = [modelOf(b.graph), randomFloats("x", 40)];
    const data = Tensor.of("x", "float", [10, 4], numbers);
    const said: string[] = [];
    const limits = { forward: 5 * 4 * 3 + 11, onLimit: (what: string) => said.push(what) };
    const [some] = (await responseAngles(model, { x: data }, limits, nodeProbe)).layers;
    const first = Tensor.of("x", "float", [5, 4], numbers.slice(0, 20));
    expect(some).toEqual((await responseAngles(model, { x: first }, {}, nodeProbe)).layers[0]);
    expect(said).toEqual(["responses to 5 of 10 samples"]);
    const [all] = (await responseAngles(model, { x: data }, { forward: 120 }, nodeProbe)).layers;
    expect(all?.rows).toBe(10);
  });

  test("a large model's layers are measured some at a time, with their matrices as inputs", async () => {
    const layers = Array.from({ length: 9 }, (_, i) => `layer${i}`);
    const modelOfLayers = (names: readonly string[]) => {
      const b = new GraphBuilder();
      const x = b.input("x", ["batch", 1024]);
      for (const name of names) b.output(b.op("MatMul", [x, b.weight(name, [1024, 2048])], `${name}.y`));
      return modelOf(b.graph);
    };
    const fed: number[] = [];
    const probe: Probe = {
      ...nodeProbe,
      run: (model, feeds, options) => {
        fed.push(feeds.size);
        return nodeProbe.run(model, feeds, options);
      },
    };
    const x = Tensor.of("x", "float", [4, 1024], randomNormals("large x", 4 * 1024));
    const all = await responseAngles(modelOfLayers(layers), { x }, {}, probe);
    // 72 MiB of weights; 4 of 9 Gram matrices of 32 MiB at a time.
    expect(fed).toEqual([10, 10, 10]);
    expect(all.layers).toHaveLength(9);
    const [alone] = (await responseAngles(modelOfLayers(layers.slice(8)), { x }, {}, probe)).layers;
    expect(fed.at(-1)).toBe(1);
    expect(all.layers[8]?.mean).toBeCloseTo(alone?.mean as number, 4);
    expect(all.layers[8]?.spread).toBeCloseTo(alone?.spread as number, 4);
    expect(all.layers[0]?.spread).not.toBeCloseTo(alone?.spread as number, 4);
  });

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
