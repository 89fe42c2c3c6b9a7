import { describe, expect, test } from "vitest";
import type { Draw } from "../../src/penalties/draws.ts";
import type { Penalty, PenaltyOptions } from "../../src/penalties/penalty.ts";
import { penaltyNamed, penaltyNames } from "../../src/penalties/table.ts";
import { Lcg, uniform } from "../helpers/lcg.ts";
import { fixture, type Summary, summaryError } from "../oracles/references.ts";
import {
  attributesOf,
  type LayerCase,
  type LayerData,
  type LayerResult,
  referenceOf,
  runPenalty,
} from "./layer-case.ts";

interface TorchCase {
  readonly penalty: string;
  readonly options: PenaltyOptions;
  readonly layer: string;
  readonly shape: readonly number[];
  readonly groups: number;
  readonly value: number;
  readonly gradient: Summary;
}
type WeightCase = TorchCase & { readonly strides: readonly number[]; readonly scale: number };
type ResponseCase = TorchCase & { readonly unitAxis: number };

/** Figures of PyTorch and Keras in float64 (scripts/oracles/regularizers.py). */
const figures = fixture<{ weights: readonly WeightCase[]; responses: readonly ResponseCase[] }>(
  "regularizers.json",
);

/** The penalty of a case. The script writes SOM with the source's weights where a case names none. */
const penaltyOf = ({ penalty, options }: TorchCase): Penalty =>
  penaltyNamed(penalty, penalty === "som" ? { lambda1: 100, ...options } : options);

const size = (shape: readonly number[]): number => shape.reduce((product, dim) => product * dim, 1);

/** The numbers that the script puts in the place of random ones. */
function draw({ distribution, shape }: Draw): Float32Array {
  if (distribution === "sphere") return uniform("directions", size(shape));
  const generator = new Lcg("start");
  return Float32Array.from({ length: size(shape) }, () => generator.next());
}

/** Penalties that draw numbers: the power iteration of spectral-so ends in the same vector from any start. */
const drawing = (penalty: string, { rows }: PenaltyOptions): boolean =>
  penalty === "srip" || rows === "random";

function errorOf(name: string, actual: LayerResult, of: "weight" | "response", expected: TorchCase): number {
  const value = Math.abs(actual.value / expected.value - 1);
  return Math.max(value, summaryError(name, actual[of], expected.gradient));
}

async function check(
  penalty: Penalty,
  c: TorchCase,
  layer: LayerCase,
  data: LayerData,
  of: "weight" | "response",
) {
  const name = `${of}.${c.layer}`;
  const draws = drawing(c.penalty, c.options) ? { draw } : {};
  // ONNX Runtime's rewriting of graphs takes most of the time: the graph that a model gets is run with it.
  const plain = { ...draws, optimize: false };
  // Keras's normalize rounds to float32 on the way, whatever its floatx.
  const exact = c.penalty === "keras" ? 1e-6 : 1e-9;
  if (!drawing(c.penalty, c.options)) {
    expect(errorOf(name, referenceOf(penalty, layer, data), of, c)).toBeLessThan(exact);
  }
  expect(errorOf(name, await runPenalty(penalty, layer, data, draws), of, c)).toBeLessThan(1e-5);
  // The same without closed forms: what a program that differentiates the block itself gets.
  const whole = await runPenalty(penalty, layer, data, { ...plain, closed: false });
  if (c.options.scale !== "rms") expect(errorOf(name, whole, of, c)).toBeLessThan(1e-5);
  // ONNX Runtime has no float64 convolution.
  if (["ocnn", "lorth"].includes(c.penalty) && c.shape.length > 2) return;
  const double = await runPenalty(penalty, { ...layer, type: "double" }, data, plain);
  expect(errorOf(name, double, of, c)).toBeLessThan(exact);
}

describe("a penalty on weights is that of PyTorch and Keras", () => {
  test.each(figures.weights)("$penalty $options, $layer", async (c) => {
    const { shape, strides, groups } = c;
    const units = shape[0] ?? 0;
    const convolution = shape.length > 2;
    const layer: LayerCase = {
      ...{ response: [4, units, ...shape.slice(2).map(() => 2)], unitAxis: 1, weight: shape, groups },
      op: convolution ? "Conv" : "Gemm",
      attributes: convolution
        ? attributesOf.convolution(
            strides,
            strides.map(() => 1),
            groups,
          )
        : attributesOf.transposed,
    };
    const data = {
      response: new Float32Array(size(layer.response)),
      weight: uniform(`weight.${c.layer}`, size(shape), c.scale),
    };
    await check(penaltyOf(c), c, layer, data, "weight");
  });
});

describe("a penalty on responses is that of PyTorch", () => {
  test.each(figures.responses)("$penalty $options, $layer", async (c) => {
    const { shape, unitAxis, groups } = c;
    const bias = c.options.bias === "remove" ? { bias: [shape[unitAxis] ?? 0] } : {};
    const layer: LayerCase = {
      ...{ response: shape, unitAxis, groups, weight: [shape[unitAxis] ?? 0, 1, 1, 1], op: "Conv", ...bias },
    };
    const data = {
      response: uniform(`response.${c.layer}`, size(shape), 0.3),
      weight: new Float32Array(shape[unitAxis] ?? 0),
      bias: uniform("bias", shape[unitAxis] ?? 0, 0.2),
    };
    await check(penaltyOf(c), c, layer, data, "response");
    if (c.options.bias !== "remove") return;
    // What reaches the bias through the response is taken off it again.
    const { response, bias: toBias } = await runPenalty(penaltyOf(c), layer, data);
    toBias.forEach((slope, unit) => {
      const through = response.filter((_, i) => Math.floor(i / 9) % 6 === unit).reduce((a, b) => a + b, 0);
      expect(slope + through).toBeCloseTo(0, 5);
    });
  });
});

test("every penalty has figures", () => {
  const compared = new Set([...figures.weights, ...figures.responses].map(({ penalty }) => penalty));
  // SOM of responses as the source has it: test/penalties/som-torch.test.ts.
  expect([...compared].sort()).toEqual([...penaltyNames].sort());
});
