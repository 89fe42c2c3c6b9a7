import { describe, expect, test } from "vitest";
import type { Probe } from "../../src/analysis/probe.ts";
import type { Site } from "../../src/analysis/site-types.ts";
import type { LayerWeightAngles } from "../../src/measure/angle-report.ts";
import { spectrumBudget, spectrumOf } from "../../src/measure/spectrum.ts";
import { weightAngles } from "../../src/measure/weight-angles.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { modelOf } from "./layer-models.ts";

/** A layer's figures without its name. */
const figures = ({ name: _, ...rest }: LayerWeightAngles) => rest;

/** A probe that counts the products of units with units. */
function counting(): { probe: Probe; products: () => number } {
  let count = 0;
  const probe: Probe = {
    ...nodeProbe,
    run: (model, feeds, options) => {
      if (feeds.has("x")) count++;
      return nodeProbe.run(model, feeds, options);
    },
  };
  return { probe, products: () => count };
}

describe("layers with the same units", () => {
  test("are measured once, and each has the figures", async () => {
    const b = new GraphBuilder();
    const w = b.weight("w", [6, 6]);
    const own = b.op("MatMul", [b.input("x", ["batch", 6]), b.weight("other", [6, 6])], "own");
    const first = b.op("MatMul", [own, w], "first");
    const second = b.op("MatMul", [first, w], "second");
    const { probe, products } = counting();
    const { layers } = await weightAngles(modelOf(b.output(second)), {}, probe);
    expect(layers.map(({ name }) => name)).toEqual(["own", "first", "second"]);
    const [other, one, another] = layers.map(figures);
    expect(another).toEqual(one);
    expect(other?.mean).not.toBe(one?.mean);
    // A Gram matrix of each of the two weights, for spectrum and pairs.
    expect(products()).toBe(2);
    const b2 = new GraphBuilder();
    const alone = b2.op("MatMul", [b2.input("x", ["batch", 6]), b2.weight("w", [6, 6])], "alone");
    const { layers: expected } = await weightAngles(modelOf(b2.output(alone)), {}, nodeProbe);
    expect(one).toEqual(figures(expected[0] as LayerWeightAngles));
  });

  test("one weight behind two equal Transposes gives the same units, read the other way it has others", async () => {
    const b = new GraphBuilder();
    const w = b.weight("w", [6, 6]);
    const turned = (name: string) => b.op("Transpose", [w], name, { perm: [1, 0] });
    const first = b.op("MatMul", [b.input("x", ["batch", 6]), turned("t1")], "first");
    const second = b.op("MatMul", [first, turned("t2")], "second");
    const plain = b.op("MatMul", [second, w], "plain");
    const asStored = b.op("Gemm", [plain, w], "gemm", { transB: 1 });
    const { probe, products } = counting();
    const { layers } = await weightAngles(modelOf(b.output(asStored)), {}, probe);
    const [one, two, other, gemm] = layers.map(figures);
    expect(two).toEqual(one);
    expect(other?.mean).not.toBe(one?.mean);
    // The columns of wᵀ are the rows of w, read in another way: measured again, and the same to the last bit.
    expect({ ...gemm, op: "MatMul" }).toEqual(one);
    expect(products()).toBe(3);
  });

  test("a kernel at two sizes of the image has two spectra", async () => {
    const b = new GraphBuilder();
    const w = b.weight("w", [2, 2, 3]);
    const first = b.op("Conv", [b.input("x", [1, 2, 12]), w], "first", { pads: [1, 1] });
    const half = b.op("Conv", [first, w], "half", { pads: [1, 1], strides: [2] });
    const last = b.op("Conv", [half, w], "last", { pads: [1, 1] });
    const same = b.op("Conv", [last, w], "same", { pads: [1, 1] });
    const { layers } = await weightAngles(modelOf(b.output(same)), {}, nodeProbe);
    expect(layers.map(({ convolution }) => convolution)).toMatchObject([
      { grid: [12], count: 24 },
      { grid: [12], count: 12 },
      { grid: [6], count: 12 },
      { grid: [6], count: 12 },
    ]);
    expect(figures(layers[3] as LayerWeightAngles)).toEqual(figures(layers[2] as LayerWeightAngles));
  });
});

describe("spectrumBudget", () => {
  const layer = (units: number, op = "MatMul") => ({ units, groups: 1, fanIn: units, op }) as Site;

  test("many layers of one size: as many as the report has time for, in the order of the model", () => {
    // 4/3·1000³ operations each; 4·10¹⁰ for all.
    const sites = Array.from({ length: 40 }, () => layer(1000));
    expect([...spectrumBudget(sites, false).matrices]).toEqual(sites.slice(0, 30));
    expect(spectrumBudget(sites, true).matrices.size).toBe(40);
  });

  test("a layer without singular values says whether they or those of all layers take too long", async () => {
    const of = (units: number) => ({ units, fanIn: units, groups: 1, data: new Float32Array(units * units) });
    expect(await spectrumOf(of(800), nodeProbe, false)).toEqual({
      notComputed:
        "singular values of 800 units of 800 are left out, because those of all layers together take over 10 s: ask for them with --full (full: true)",
    });
    expect(await spectrumOf(of(1500), nodeProbe, false)).toEqual({
      notComputed:
        "singular values of 1500 units of 1500 take about 2 s: ask for them with --full (full: true)",
    });
  });

  test("smaller layers come first, and one that takes too long by itself is left out", () => {
    const [large, small, larger] = [layer(1100), layer(10), layer(1200)] as const;
    expect(spectrumBudget([large, small, larger], false).matrices).toEqual(new Set([small, large]));
  });
});
