import { describe, expect, it } from "vitest";
import { strip } from "../../src/block/strip.ts";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  arrayDataset,
  inject,
  inspect,
  meanSquaredError,
  responseAngles,
  so,
  som,
  Trainer,
  verify,
  weightAngles,
} from "../../src/index.ts";
import { Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";

type Numbers = { readonly dims: readonly number[]; readonly at: ArrayLike<number> };

/** An Einsum in float64, index by index. */
function einsum(equation: string, a: Numbers, b: Numbers): Numbers {
  const [terms = "", out = ""] = equation.split("->");
  const [first = "", second = ""] = terms.split(",");
  const length = new Map<string, number>();
  for (const [term, { dims }] of [
    [first, a],
    [second, b],
  ] as const)
    [...term].forEach((letter, axis) => void length.set(letter, dims[axis] ?? 0));
  const dims = [...out].map((letter) => length.get(letter) ?? 0);
  const sum = new Float64Array(dims.reduce((x, y) => x * y, 1));
  const letters = [...length.keys()];
  const place = (term: string, index: ReadonlyMap<string, number>) =>
    [...term].reduce((at, letter) => at * (length.get(letter) ?? 0) + (index.get(letter) ?? 0), 0);
  const visit = (depth: number, index: Map<string, number>): void => {
    const letter = letters[depth];
    if (letter === undefined) {
      const to = place(out, index);
      sum[to] =
        (sum[to] as number) + (a.at[place(first, index)] as number) * (b.at[place(second, index)] as number);
      return;
    }
    for (let i = 0; i < (length.get(letter) ?? 0); i++) visit(depth + 1, index.set(letter, i));
  };
  visit(0, new Map());
  return { dims, at: sum };
}

/** A convolution of [N, C, H, W] with [M, C, 3, 3] without padding, in float64. */
function convolved(x: Numbers, w: Numbers): Numbers {
  const [n = 0, c = 0, h = 0, width = 0] = x.dims;
  const [m = 0] = w.dims;
  const dims = [n, m, h - 2, width - 2];
  const at: number[] = [];
  for (let i = 0; i < n; i++)
    for (let unit = 0; unit < m; unit++)
      for (let y = 0; y < h - 2; y++)
        for (let z = 0; z < width - 2; z++) {
          let sum = 0;
          for (let k = 0; k < c * 9; k++) {
            const [channel, row, column] = [Math.floor(k / 9), Math.floor((k % 9) / 3), k % 3];
            sum +=
              (x.at[((i * c + channel) * h + y + row) * width + z + column] as number) *
              (w.at[unit * c * 9 + k] as number);
          }
          at.push(sum);
        }
  return { dims, at };
}

/** A layer that takes penalties once it is written out. */
interface Layer {
  readonly x: readonly number[];
  readonly w: readonly number[];
  readonly bias?: readonly number[];
  /** Adds the layer's operator, called "y". */
  readonly build: (b: GraphBuilder, x: Value, w: Value, bias: Value | null) => Value;
  /** The layer's product for the data and the weight. */
  readonly product: (x: Numbers, w: Numbers) => Numbers;
  /** Axes of the product that count units. */
  readonly unitAxes: readonly number[];
}
const microsoft = "com.microsoft";
const viaEinsum = (
  equation: string,
  x: readonly number[],
  w: readonly number[],
  unitAxes: readonly number[],
  bias?: readonly number[],
): Layer => ({
  ...{ x, w, unitAxes, ...(bias && { bias }) },
  build: (b, data, weight, added) => {
    const weightFirst = equation.startsWith("ki,");
    const y = b.op("Einsum", weightFirst ? [weight, data] : [data, weight], added ? "y/product" : "y", {
      equation,
    });
    return added ? b.op("Add", [y, added], "y") : y;
  },
  product: (data, weight) =>
    equation.startsWith("ki,") ? einsum(equation, weight, data) : einsum(equation, data, weight),
});

const layers: Record<string, Layer> = {
  FusedGemm: {
    ...{ x: [6], w: [8, 6], bias: [8], unitAxes: [1] },
    build: (b, x, w, bias) =>
      b.op(
        "FusedGemm",
        [x, w, bias],
        "y",
        { transB: 1, activation: "LeakyRelu", activation_alpha: 0.1 },
        microsoft,
      ),
    product: (x, w) => einsum("bi,ki->bk", x, w),
  },
  FusedConv: {
    ...{ x: [3, 5, 5], w: [4, 3, 3, 3], bias: [4], unitAxes: [1] },
    build: (b, x, w, bias) =>
      b.op("FusedConv", [x, w, bias], "y", { kernel_shape: [3, 3], activation: "Relu" }, microsoft),
    product: convolved,
  },
  "FusedConv with bounds": {
    ...{ x: [3, 5, 5], w: [4, 3, 3, 3], unitAxes: [1] },
    build: (b, x, w) =>
      b.op("FusedConv", [x, w], "y", { activation: "Clip", activation_params: [-0.25, 0.25] }, microsoft),
    product: convolved,
  },
  FusedMatMul: {
    ...{ x: [3, 6], w: [8, 6], unitAxes: [2] },
    build: (b, x, w) => b.op("FusedMatMul", [x, w], "y", { transB: 1, alpha: 0.5 }, microsoft),
    product: (x, w) => einsum("bti,ki->btk", { ...x, at: Array.from(x.at, (number) => number / 2) }, w),
  },
  "Einsum as a Linear layer": viaEinsum("bi,ki->bk", [6], [8, 6], [1]),
  "Einsum, the weight first": viaEinsum("ki,bti->btk", [3, 6], [8, 6], [2]),
  "Einsum into heads": viaEinsum("bti,ihk->bthk", [3, 6], [6, 2, 4], [2, 3], [2, 4]),
  "Einsum into heads, heads in front": viaEinsum("bti,ihk->bhtk", [3, 6], [6, 2, 4], [1, 3], [2, 1, 4]),
  "Einsum out of heads": viaEinsum("bthk,hkd->btd", [3, 2, 4], [2, 4, 5], [2]),
  "Einsum that sums in front": viaEinsum("bit,ik->btk", [6, 3], [6, 8], [2]),
};
const samples = 5;

/** x → the layer → y, the mean of its numbers. */
function modelOf({ x, w, bias, build }: Layer): Model {
  const b = new GraphBuilder(18, { [microsoft]: 1 });
  const y = build(b, b.input("x", ["batch", ...x]), b.weight("w", w), bias ? b.weight("bias", bias) : null);
  b.output(b.op("ReduceMean", [b.op("Flatten", [y], "flat"), b.int64("axes", [1])], "mean"), y);
  return Model.fromBytes(Model.fromProto(graphToProto(b.graph, { irVersion: 8 })).bytes);
}
const dataOf = ({ x }: Layer) =>
  Float32Array.from(randomFloats("data", samples * x.reduce((a, c) => a * c, 1)));
const float32 = (name: string, dims: readonly number[]): Numbers => ({
  dims,
  at: Float32Array.from(
    randomFloats(
      name,
      dims.reduce((a, c) => a * c, 1),
    ),
  ),
});

/** tanh of the response, one row per unit, in float64. */
function squashed(layer: Layer): number[][] {
  const { x, w, bias, product, unitAxes } = layer;
  const { dims, at } = product({ dims: [samples, ...x], at: dataOf(layer) }, float32("w", w));
  const added = bias && float32("bias", bias);
  const units: number[][] = [];
  for (let i = 0; i < at.length; i++) {
    const index = dims.map(
      (dim, axis) => Math.floor(i / dims.slice(axis + 1).reduce((a, c) => a * c, 1)) % dim,
    );
    const unit = unitAxes.reduce((sum, axis) => sum * (dims[axis] as number) + (index[axis] as number), 0);
    units[unit] ??= [];
    units[unit]?.push(Math.tanh((at[i] as number) + ((added?.at[unit] as number | undefined) ?? 0)));
  }
  return units;
}
const dot = (a: readonly number[], b: readonly number[]) =>
  a.reduce((sum, x, i) => sum + x * (b[i] as number), 0);
const cosines = (rows: readonly (readonly number[])[]) =>
  rows.flatMap((a, i) =>
    rows.flatMap((b, j) => (i === j ? [] : [dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))])),
  );
const mean = (numbers: readonly number[]) => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;

/** Those that are also trained; the others differ only in how they are written out. */
const trained = new Set(["FusedGemm", "FusedConv", "Einsum into heads"]);
const penalty = () => som({ lambda1: 2, lambda2: 1, gamma: 1 });

describe("layers that are written out", () => {
  it.each(Object.keys(layers))("%s: injected, verified, stripped, measured and trained", async (name) => {
    const layer = layers[name] as Layer;
    const original = modelOf(layer);
    const injected = await inject(original, { penalties: [penalty()], perSite: true });
    const before = original.proto.graph?.node ?? [];
    expect(injected.proto.graph?.node?.slice(0, before.length)).toEqual(before);
    expect(equalBytes(strip(Model.fromBytes(injected.bytes)).bytes, original.bytes)).toBe(true);

    const among = cosines(squashed(layer));
    const expected = 2 * mean(among) ** 2 + mean(among.map((cosine) => cosine ** 2));
    const x = Tensor.float("x", [samples, ...layer.x], dataOf(layer));
    const plain = { optimize: false };
    const [found, own] = [
      await runModel(injected.bytes, { x }, plain),
      await runModel(original.bytes, { x }, plain),
    ];
    const label = name.startsWith("Einsum into heads") ? "y/product" : "y";
    expect(found[`sorth_penalty/${label}`]?.numbers()[0]).toBeCloseTo(expected, 5);
    expect(found.y?.data).toEqual(own.y?.data);

    const { checks, passed } = await verify(original, injected);
    expect(passed, JSON.stringify(checks)).toBe(true);
    expect(checks.map(({ name: check }) => check)).toContain(`gradient of ${label}`);

    const { layers: measured } = await responseAngles(original, { x }, { gamma: 1 });
    expect(measured).toHaveLength(1);
    expect(measured[0]?.mean).toBeCloseTo(mean(among.map((cosine) => 90 * (1 - cosine))), 3);
    expect((await weightAngles(original)).layers).toHaveLength(1);
    expect((await inspect(original)).sites.map((site) => site.name)).toEqual([label]);

    if (!trained.has(name)) return;
    const y = Float32Array.from({ length: samples }, () => 0.5);
    const data = arrayDataset(dataOf(layer), y, [...layer.x]);
    const trainer = await Trainer.create(injected, {
      objective: meanSquaredError(),
      output: "mean",
      batch: samples,
      seed: 1,
    });
    for await (const event of trainer.fit(data, { maxSteps: 1 }))
      if (event.event === "step") expect(event.penalty).toBeCloseTo(expected, 4);
    await trainer.release();
  });

  it.each([
    ["ihk,bhi->bhk", [2, 6], [6, 2, 4], 'a stack of matrices, one for each "h"'],
    ["bti,k->btk", [3, 6], [8], "sums over an index of one operand alone"],
    ["bt,ik->btik", [3], [6, 8], "sums over no index of its weight"],
    ["bii,ik->bk", [6, 6], [6, 8], "reads a diagonal"],
  ] as const)("an Einsum of %s takes none, with the reason", async (equation, x, w, reason) => {
    const original = modelOf(viaEinsum(equation, x, w, []));
    expect((await inspect(original)).skipped[0]?.reason).toContain(reason);
  });

  it("penalties on weights read the weight as the product does", async () => {
    const original = modelOf(layers["Einsum into heads"] as Layer);
    const injected = await inject(original, { penalties: [so()] });
    expect((await verify(original, injected)).passed).toBe(true);
    const { at } = float32("w", [6, 8]);
    const gram = (i: number, j: number) =>
      Array.from({ length: 6 }, (_, d) => (at[d * 8 + i] as number) * (at[d * 8 + j] as number)).reduce(
        (a, c) => a + c,
        0,
      );
    let expected = 0;
    for (let i = 0; i < 8; i++) for (let j = 0; j < 8; j++) expected += (gram(i, j) - (i === j ? 1 : 0)) ** 2;
    const x = Tensor.float("x", [1, 3, 6], new Float32Array(18));
    expect((await runModel(injected.bytes, { x })).sorth_penalty?.numbers()[0]).toBeCloseTo(expected, 4);
  });
});
