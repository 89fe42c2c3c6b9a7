import { describe, expect, test } from "vitest";
import { Tensor } from "../../src/onnx/tensor.ts";
import { appliesTo } from "../../src/penalties/applies.ts";
import { som } from "../../src/penalties/som.ts";
import type { SomOptions } from "../../src/penalties/som-options.ts";
import { maxDifference, randomNormals, relativeError } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";
import { siteOf } from "./layer-case.ts";
import { layerCase, referenceSom, runSom, type SomCase, somGraph } from "./som-case.ts";

const size = (shape: readonly number[]): number => shape.reduce((product, dim) => product * dim, 1);

/** Responses spread so that tanh(10y) is saturated in part only. */
const responses = (shape: readonly number[], scale = 0.15): Float32Array =>
  randomNormals(`som ${shape.join("x")}`, size(shape)).map((value) => value * scale);

const layouts: Record<string, SomCase> = {
  "Gemm [N, k]": { shape: [16, 6], unitAxis: 1 },
  "Gemm [N, k], few rows": { shape: [5, 12], unitAxis: 1 },
  "MatMul [N, L, k]": { shape: [4, 3, 5], unitAxis: 2 },
  "MatMul [N, L, k], few rows": { shape: [2, 2, 9], unitAxis: 2 },
  "MatMul, weight on the left [k, n]": { shape: [5, 9], unitAxis: 0 },
  "MatMul, weight on the left [k, n], few rows": { shape: [8, 3], unitAxis: 0 },
  "MatMul, weight on the left [N, k, n]": { shape: [3, 5, 7], unitAxis: 1 },
  "MatMul, weight on the left [N, M, k, n]": { shape: [2, 3, 4, 6], unitAxis: 2 },
  "Conv [N, k, H, W]": { shape: [3, 4, 3, 2], unitAxis: 1 },
  "Conv [N, k, H, W], fewer positions than units": { shape: [9, 6, 2, 1], unitAxis: 1 },
  "Conv [N, k, H, W], one sample": { shape: [1, 4, 4, 3], unitAxis: 1 },
  "Conv [N, k, H, W], few rows": { shape: [2, 12, 1, 3], unitAxis: 1 },
  "Conv [N, k, L]": { shape: [3, 4, 6], unitAxis: 1 },
  "Conv [N, k, D, H, W]": { shape: [2, 3, 2, 2, 3], unitAxis: 1 },
  "Conv, 3 groups": { shape: [4, 9, 2, 3], unitAxis: 1, groups: 3 },
  "Conv, 2 groups, fewer positions than units": { shape: [9, 8, 1, 2], unitAxis: 1, groups: 2 },
  "Conv, 2 groups, few rows": { shape: [2, 16, 1, 2], unitAxis: 1, groups: 2 },
};

/** The reference on responses `[row][unit]`. */
const of = (rows: readonly (readonly number[])[], options: Partial<SomOptions> = {}) =>
  referenceSom({ unitAxis: 1, options }, [rows.length, rows[0]?.length ?? 0], rows.flat());

describe("the reference", () => {
  const shape = [7, 6];
  const data = Float64Array.from(responses(shape));

  for (const reduction of ["mean", "sum"] as const) {
    for (const groups of [1, 2]) {
      test(`has the gradient of its value: ${reduction}, ${groups} group(s)`, () => {
        const c = { unitAxis: 1, groups, options: { reduction, lambda1: 3, lambda2: 2, gamma: 4 } };
        const { gradient } = referenceSom(c, shape, data);
        const step = 1e-5;
        const numeric = Array.from(data, (_, index) => {
          // Fourth order: exact to about 1e-11 of the largest slope.
          const at = (offset: number): number => {
            const moved = Float64Array.from(data);
            moved[index] = (moved[index] ?? 0) + offset * step;
            return referenceSom(c, shape, moved).value;
          };
          return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step);
        });
        expect(relativeError(gradient, numeric)).toBeLessThan(1e-9);
      });
    }
  }

  test("of two units is the formula in their angle", () => {
    // tanh(γy) = (1, 1, 1, 1)·c and (1, 1, 1, −1)·c: ϑ = 1/2, up to ε.
    const rows = [
      [3, 3],
      [3, 3],
      [3, 3],
      [3, -3],
    ];
    const options = { lambda1: 100, lambda2: 1, gamma: 10 };
    const value = (reduction: "mean" | "sum") => of(rows, { ...options, reduction }).value;
    expect(value("sum") / (100 * (2 * 0.5) ** 2 + 2 * 0.25)).toBeCloseTo(1, 5);
    expect(value("mean") / (100 * 0.5 ** 2 + 0.25)).toBeCloseTo(1, 5);
  });

  test("is 0 with zero gradient for orthogonal units", () => {
    const rows = [
      [3, 3],
      [3, -3],
      [-3, 3],
      [-3, -3],
    ];
    const { value, gradient } = of(rows);
    expect(value).toBe(0);
    expect(gradient.every((slope) => Math.abs(slope) === 0)).toBe(true);
  });
});

describe("the graph agrees with the reference", () => {
  for (const [name, layout] of Object.entries(layouts)) {
    for (const reduction of ["mean", "sum"] as const) {
      const c = { ...layout, options: { reduction } };
      const data = responses(c.shape);
      const expected = referenceSom(c, c.shape, data);

      test(`${name}, ${reduction}, float64`, async () => {
        const actual = await runSom(
          { ...c, type: "double" },
          Tensor.of("y", "double", c.shape, Float64Array.from(data)),
        );
        expect(Math.abs(actual.value / expected.value - 1)).toBeLessThan(1e-12);
        expect(relativeError(actual.gradient, expected.gradient)).toBeLessThan(1e-12);
      });

      test(`${name}, ${reduction}, float32`, async () => {
        const actual = await runSom(c, Tensor.of("y", "float", c.shape, data));
        expect(Math.abs(actual.value / expected.value - 1)).toBeLessThan(1e-5);
        expect(relativeError(actual.gradient, expected.gradient)).toBeLessThan(1e-5);
      });
    }
  }

  for (const opset of [11, 13, 18, 21, 24]) {
    for (const constants of ["initializers", "nodes"] as const) {
      test(`opset ${opset}, constants as ${constants}`, async () => {
        for (const name of ["Gemm [N, k]", "Conv, 3 groups", "Conv, 2 groups, few rows"]) {
          const c = { ...(layouts[name] as SomCase), opset, constants };
          const data = responses(c.shape);
          const actual = await runSom(c, Tensor.of("y", "float", c.shape, data));
          const expected = referenceSom(c, c.shape, data);
          expect(Math.abs(actual.value / expected.value - 1)).toBeLessThan(1e-5);
          expect(relativeError(actual.gradient, expected.gradient)).toBeLessThan(1e-5);
        }
      });
    }
  }

  test("both Gram forms agree, and the smaller one is used where rows are few and fixed", async () => {
    const c: SomCase = { shape: [6, 40], unitAxis: 1, type: "double" };
    const data = Tensor.of("y", "double", c.shape, Float64Array.from(responses(c.shape)));
    const [rows, units] = [await runSom(c, data), await runSom({ ...c, rowsFixed: false }, data)];
    expect(Math.abs(rows.value / units.value - 1)).toBeLessThan(1e-12);
    expect(relativeError(rows.gradient, units.gradient)).toBeLessThan(1e-12);
    const largest = (fixed: boolean): number =>
      Math.max(...[...somGraph({ ...c, rowsFixed: fixed }).values].map(({ shape }) => size(shape ?? [])));
    expect([largest(true), largest(false)]).toEqual([6 * 40, 40 * 40]);
  });
});

describe("half floats", () => {
  test("float16: computed in float32, gradient cast back", async () => {
    const c: SomCase = { shape: [4, 6, 3, 2], unitAxis: 1, type: "float16" };
    // Multiples of 1/64 below 1 are exact in half precision.
    const exact = responses(c.shape).map((value) => Math.round(value * 64) / 64);
    const actual = await runSom(c, Tensor.of("y", "float16", c.shape, Uint16Array.from(exact, halfBits)));
    const expected = referenceSom(c, c.shape, exact);
    expect(Math.abs(actual.value / expected.value - 1)).toBeLessThan(1e-5);
    // Rounding of the gradient itself to 11 bits, and to steps of 2⁻²⁴ where it is subnormal.
    const largest = Math.max(...expected.gradient.map(Math.abs));
    expect(maxDifference(actual.gradient, expected.gradient)).toBeLessThan(largest * 2 ** -11 + 2 ** -25);
    const graph = somGraph(c);
    expect(graph.outputs.map(({ type }) => type)).toEqual(["float", "float16"]);
  });

  test("bfloat16: the types of value and gradient", () => {
    const graph = somGraph({ shape: [4, 6], unitAxis: 1, type: "bfloat16" });
    expect(graph.outputs.map(({ type }) => type)).toEqual(["float", "bfloat16"]);
    const arithmetic = graph.nodes.filter(({ opType }) => opType !== "Cast");
    expect(arithmetic.every(({ inputs }) => inputs.every((input) => input?.type !== "bfloat16"))).toBe(true);
  });
});

describe("dead units", () => {
  for (const [name, shape, unitAxis] of [
    ["k×k, Gemm", [12, 5], 1],
    ["k×k, Conv", [3, 5, 2, 3], 1],
    ["b×b", [3, 10], 1],
  ] as const) {
    test(`${name}: no gradient of their own, and none felt by the others`, async () => {
      const c: SomCase = { shape, unitAxis };
      const inner = size(shape.slice(unitAxis + 1));
      const units = shape[unitAxis];
      const unitOf = (index: number): number => Math.floor(index / inner) % units;
      const data = responses(shape).map((value, index) => ([1, 3].includes(unitOf(index)) ? 0 : value));
      const actual = await runSom(c, Tensor.of("y", "float", shape, data));
      const expected = referenceSom(c, shape, data);
      expect(Math.abs(actual.value / expected.value - 1)).toBeLessThan(1e-5);
      expect(relativeError(actual.gradient, expected.gradient)).toBeLessThan(1e-5);
      actual.gradient.forEach((slope, index) => {
        if ([1, 3].includes(unitOf(index))) expect(Math.abs(slope)).toBe(0);
        else expect(Math.abs(slope)).toBeGreaterThan(0);
      });
      // The living units feel what they would feel alone, but for the number of pairs over which means are taken.
      const alive = data.filter((_, index) => ![1, 3].includes(unitOf(index)));
      const aliveShape = shape.map((dim, axis) => (axis === unitAxis ? dim - 2 : dim));
      const sum = { ...c, options: { reduction: "sum" as const } };
      expect(referenceSom(sum, shape, data).value).toBeCloseTo(referenceSom(sum, aliveShape, alive).value, 9);
    });
  }

  test("all dead: 0 everywhere", async () => {
    for (const shape of [
      [8, 4],
      [2, 16],
    ]) {
      const actual = await runSom({ shape, unitAxis: 1 }, Tensor.float("y", shape, new Float32Array(32)));
      expect(actual.value).toBe(0);
      expect(actual.gradient.every((slope) => slope === 0)).toBe(true);
    }
  });
});

describe("the injected form holds no batch size", () => {
  for (const [name, shape, unitAxis, groups, free] of [
    ["Gemm", [2, 5], 1, 1, [0]],
    ["MatMul [N, L, k]", [1, 1, 5], 2, 1, [0, 1]],
    ["MatMul, weight on the left [N, k, n]", [1, 5, 1], 1, 1, [0, 2]],
    ["MatMul, weight on the left [k, n]", [5, 1], 0, 1, [1]],
    ["Conv", [1, 4, 2, 3], 1, 1, [0, 2]],
    ["Conv, built for two samples", [2, 4, 2, 3], 1, 1, [0, 2]],
    ["Conv, 2 groups", [1, 8, 2, 3], 1, 2, [0, 2]],
    ["Conv, 2 groups, built for two samples", [2, 8, 3, 3], 1, 2, [0, 2]],
  ] as const) {
    test(name, async () => {
      const declared = shape.map((dim, axis) => (free.some((other) => other === axis) ? `d${axis}` : dim));
      const graph = somGraph({ shape, unitAxis, groups, rowsFixed: false, declared });
      // As a file would store it: no shape but the declared one.
      for (const value of [...graph.inputs, ...graph.outputs]) value.shape = undefined;
      for (const factor of [1, 3, 4]) {
        const actual = shape.map((dim, axis) => (free.some((other) => other === axis) ? dim * factor : dim));
        const data = responses(actual);
        const outputs = Object.values(await runModel(graph, { y: Tensor.of("y", "float", actual, data) }));
        const expected = referenceSom({ unitAxis, groups }, actual, data);
        // One row has no angles: cosines of ±1, where the gradient is all cancellation.
        if (size(actual) / (shape[unitAxis] as number) < 2) continue;
        expect(Math.abs((outputs[0]?.numbers()[0] ?? Number.NaN) / expected.value - 1)).toBeLessThan(1e-5);
        expect(outputs[1]?.dims).toEqual(actual);
        expect(relativeError(outputs[1]?.numbers() ?? [], expected.gradient)).toBeLessThan(1e-5);
      }
    });
  }

  test("every operator of the value has a gradient in official ORT training, or needs none", () => {
    const differentiable = [
      "Tanh",
      "MatMul",
      "Gemm",
      "ReduceSum",
      "Add",
      "Sub",
      "Mul",
      "Reshape",
      "Transpose",
    ];
    differentiable.push("Sqrt", "Cast", "Div", "Gather");
    const stopping = ["Constant", "Equal", "Greater"];
    for (const c of Object.values(layouts)) {
      const graph = somGraph({ ...c, rowsFixed: false, constants: "nodes", gradient: false });
      const used = [...new Set(graph.nodes.map(({ opType }) => opType))];
      expect(used.filter((op) => !differentiable.includes(op) && !stopping.includes(op))).toEqual([]);
    }
  });
});

describe("which sites get it", () => {
  const site = (shape: readonly number[], extra: Partial<SomCase> = {}) =>
    siteOf(layerCase({ shape, unitAxis: 1, ...extra })).site;
  const applies = (...of: Parameters<typeof site>) => appliesTo(som(), site(...of));

  test("reasons", () => {
    expect(applies([8, 4])).toBe(true);
    expect(applies([8, 1])).toBe("one unit has no pairs");
    expect(applies([1, 8])).toBe(
      "one row has no angles: use a larger batch (where the file fixes it at 1, sorth-onnx free-batch frees it), or a penalty on weights (so, som:rows=random, som:angles=weights)",
    );
    expect(applies([1, 8], { rowsFixed: false })).toBe(true);
    expect(applies([8, 4], { type: "int32" })).toBe("its response is int32, not a float");
    expect(applies([8, 4, 5, 5], { groups: 4 })).toBe("depthwise: each unit sees another channel");
    expect(applies([8, 4, 5, 5], { groups: 2 })).toBe(true);
  });

  test("warnings", () => {
    const warning = (...of: Parameters<typeof site>) =>
      som.definition.warning?.(site(...of), som.definition.defaults);
    expect(warning([64, 512])).toBe("64 rows for 512 units: the penalty cannot reach 0");
    expect(warning([64, 64])).toBeUndefined();
    expect(warning([64, 16000], { rowsFixed: false })).toMatch(
      /16000 units take about 5.1 GB in each run: .* batch of at most 8000$/,
    );
    // Above 16,384 units, an open batch has the form whose size is that of the rows.
    expect(warning([64, 20000], { rowsFixed: false })).toBeUndefined();
    expect(warning([64, 20000, 2], { rowsFixed: false })).toMatch(/20000 units take about 8.0 GB/);
    expect(warning([64, 16000])).not.toMatch(/GB/);
    expect(warning([64, 512], { rowsFixed: false })).toBeUndefined();
    expect(warning([2, 64, 2, 2], { groups: 4 })).toBe("8 rows for 16 units: the penalty cannot reach 0");
  });

  test("a batch below the number of units cannot reach 0: ΣO² ≥ k²/b − k", () => {
    const rows = Array.from({ length: 4 }, (_, row) =>
      Array.from(responses([4, 16]).slice(row * 16, row * 16 + 16)),
    );
    const options = { lambda1: 0, lambda2: 1, gamma: 10, reduction: "sum" as const };
    expect(of(rows, options).value).toBeGreaterThan(16 ** 2 / 4 - 16 - 1e-3);
  });
});

/** IEEE half bits of a number that half precision holds exactly. */
function halfBits(value: number): number {
  if (value === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  const fraction = Math.abs(value) / 2 ** exponent - 1;
  return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | (fraction * 1024);
}
