import { describe, expect, test } from "vitest";
import { inferShapes } from "../../src/analysis/infer.ts";
import { findSites } from "../../src/analysis/sites.ts";
import type { Graph } from "../../src/graph/graph.ts";
import { unitVectors } from "../../src/measure/unit-vectors.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { weightOf } from "../../src/penalties/layer.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { runModel } from "../helpers/run-model.ts";

/** A layer of one operator whose weight is fed, so that one element of it can be set at a time. */
interface Case {
  readonly name: string;
  readonly op: string;
  readonly x: number[];
  readonly w: number[];
  readonly attributes?: Record<string, number | number[]>;
  /** The weight is the first input. */
  readonly left?: true;
}

const cases: Case[] = [
  { name: "Gemm", op: "Gemm", x: [2, 3], w: [3, 4] },
  { name: "Gemm, transposed", op: "Gemm", x: [2, 3], w: [4, 3], attributes: { transB: 1 } },
  { name: "Gemm, weight on the left", op: "Gemm", x: [3, 2], w: [4, 3], left: true },
  {
    ...{ name: "Gemm, weight on the left, transposed", op: "Gemm", x: [3, 2], w: [3, 4], left: true },
    attributes: { transA: 1 },
  },
  { name: "MatMul", op: "MatMul", x: [2, 5, 3], w: [3, 4] },
  { name: "MatMul, weight with a leading 1", op: "MatMul", x: [2, 5, 3], w: [1, 3, 4] },
  { name: "MatMul, weight on the left", op: "MatMul", x: [2, 3, 5], w: [4, 3], left: true },
  { name: "Conv, 2-D", op: "Conv", x: [1, 2, 4, 4], w: [3, 2, 2, 3] },
  { name: "Conv, 1-D, groups", op: "Conv", x: [1, 4, 5], w: [6, 2, 3], attributes: { group: 2 } },
  { name: "ConvTranspose, 2-D", op: "ConvTranspose", x: [1, 2, 3, 3], w: [2, 3, 2, 2] },
  {
    ...{ name: "ConvTranspose, 1-D, groups", op: "ConvTranspose", x: [1, 4, 5], w: [4, 3, 2] },
    attributes: { group: 2 },
  },
];

function build({ op, x, w, attributes, left }: Case, weight: Tensor): Graph {
  const b = new GraphBuilder();
  const input = b.input("x", x);
  const parameter = b.graph.addInitializer(Tensor.of("w", "float", w, weight.data));
  return b.output(b.op(op, left ? [parameter, input] : [input, parameter], "y", attributes));
}

describe("unitVectors", () => {
  test.each(cases)("$name: a unit holds the elements that reach its response", async (layer) => {
    const size = layer.w.reduce((product, dim) => product * dim, 1);
    const numbered = Tensor.of(
      "w",
      "float",
      layer.w,
      Float32Array.from({ length: size }, (_, i) => i),
    );
    const graph = build(layer, numbered);
    await inferShapes(graph, nodeProbe);
    const [site] = findSites(graph).sites;
    if (!site) throw new Error("no site was found");
    expect(weightOf(site)?.name).toBe("w");
    const { units, fanIn, data } = unitVectors(site, numbered);
    expect(data.length).toBe(size);

    // Which unit's response is not 0 when only one element of the weight is 1 and the input is all ones?
    const ones = new Float32Array(layer.x.reduce((product, dim) => product * dim, 1)).fill(1);
    const reached = Array.from({ length: units }, () => new Set<number>());
    for (let element = 0; element < size; element++) {
      const weight = new Float32Array(size);
      weight[element] = 1;
      const graphOfOne = build(layer, Tensor.of("w", "float", layer.w, weight));
      const { y } = await runModel(graphOfOne, { x: Tensor.of("x", "float", layer.x, ones) });
      const dims = y?.dims ?? [];
      const inner = dims.slice(site.unitAxis + 1).reduce((product, dim) => product * dim, 1);
      const found = new Set(y?.numbers().flatMap((v, i) => (v === 0 ? [] : [Math.floor(i / inner) % units])));
      expect(found.size).toBe(1);
      for (const unit of found) reached[unit]?.add(element);
    }
    for (let unit = 0; unit < units; unit++) {
      const row = [...data.slice(unit * fanIn, (unit + 1) * fanIn)];
      expect(new Set(row), `unit ${unit}`).toEqual(reached[unit]);
    }
  });

  test("half floats are decoded", async () => {
    const b = new GraphBuilder();
    const bits = Uint16Array.of(0x3c00, 0x4000, 0xc000, 0x3800);
    const weight = b.graph.addInitializer(Tensor.of("w", "float16", [2, 2], bits));
    const graph = b.output(b.op("Gemm", [b.input("x", [2, 2], "float16"), weight], "y", { transB: 1 }));
    await inferShapes(graph, nodeProbe);
    const [site] = findSites(graph).sites;
    expect(site && [...unitVectors(site, Tensor.of("w", "float16", [2, 2], bits)).data]).toEqual([
      1, 2, -2, 0.5,
    ]);
  });
});
