import { describe, expect, test } from "vitest";
import { inferShapes } from "../../src/analysis/infer.ts";
import { findSites } from "../../src/analysis/sites.ts";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { convolutionOf, convolutionSpectrum } from "../../src/measure/convolution-spectrum.ts";
import { responseAngles } from "../../src/measure/response-angles.ts";
import { isComputed, type SpectralFigures, spectrumOf } from "../../src/measure/spectrum.ts";
import { unitAngles, weightAngles } from "../../src/measure/weight-angles.ts";
import { Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { uniform } from "../helpers/lcg.ts";
import { fixture } from "../oracles/references.ts";

interface PairFigures {
  readonly name: string;
  readonly units: number;
  readonly groups: number;
  readonly percentiles: Readonly<Record<string, number>>;
  readonly [figure: string]: unknown;
}
interface NumpyWeight extends PairFigures {
  readonly fanIn: number;
  readonly dead: readonly number[];
  readonly deviation: number;
  readonly normalized: number;
  readonly spectrum: NumpySpectrum;
  readonly singularValues: readonly number[];
}
interface NumpyResponse extends PairFigures {
  readonly rows: number;
  readonly gamma: number;
}
type NumpySpectrum = Readonly<Record<keyof SpectralFigures, number | null>>;
interface NumpyConvolution {
  readonly name: string;
  readonly op: "Conv" | "ConvTranspose";
  readonly shape: readonly number[];
  readonly size: readonly number[];
  readonly groups: number;
  readonly strides: number[];
  readonly dilations: number[];
  readonly spectrum: NumpySpectrum;
  readonly singularValues: readonly number[];
}
const { weights, responses, convolutions } = fixture<{
  weights: readonly NumpyWeight[];
  responses: readonly NumpyResponse[];
  convolutions: readonly NumpyConvolution[];
}>("angles.json");

const count = (shape: readonly number[]) => shape.reduce((product, dim) => product * dim, 1);
const modelOf = (b: GraphBuilder, output: Value) => Model.fromProto(graphToProto(b.output(output)));

/** Relative to the expected number, which is not 0 here. */
function close(actual: number | undefined, expected: number, tolerance: number, what: string): void {
  expect(Math.abs((actual ?? Number.NaN) - expected) / Math.max(Math.abs(expected), 1e-3), what).toBeLessThan(
    tolerance,
  );
}

const pairFigures = [
  "mean",
  "spread",
  "min",
  "max",
  "meanAbsoluteCosine",
  "cosineSpread",
  "coherence",
] as const;

function checkPairs(
  actual: Readonly<Record<(typeof pairFigures)[number] | "pairs", number>> & {
    readonly percentiles: object;
  },
  expected: PairFigures,
  tolerance: number,
): void {
  expect(actual.pairs).toBe(expected.pairs);
  for (const figure of pairFigures) close(actual[figure], expected[figure] as number, tolerance, figure);
  for (const [percent, angle] of Object.entries(actual.percentiles) as [string, number][]) {
    // Angles are counted in bins of 0.001°.
    expect(Math.abs(angle - (expected.percentiles[percent] ?? Number.NaN)), `${percent} %`).toBeLessThan(
      6e-4,
    );
  }
}

function checkSpectrum(actual: SpectralFigures, expected: NumpySpectrum, tolerance: number): void {
  for (const [figure, value] of Object.entries(expected)) {
    const found = actual[figure as keyof SpectralFigures];
    if (value === null) expect(found, figure).toBe(Number.POSITIVE_INFINITY);
    else close(found, value, tolerance, figure);
  }
}

describe.each(weights)("weights: $name", ({ name, units, fanIn, groups, dead, ...expected }) => {
  const data = uniform(`angles.${name}`, units * fanIn);
  for (const unit of dead) data.fill(0, unit * fanIn, (unit + 1) * fanIn);
  const matrix = { units, fanIn, groups, data };

  test("angles as NumPy has them", async () => {
    const { statistics, orthogonality } = await unitAngles(matrix, {}, nodeProbe);
    checkPairs(statistics, { name, units, groups, ...expected }, 1e-11);
    expect(statistics.deadUnits).toEqual(dead);
    close(orthogonality.deviation, expected.deviation, 1e-12, "deviation");
    close(orthogonality.normalized, expected.normalized, 1e-12, "normalized");
    expect(orthogonality.normalized).toBeGreaterThanOrEqual(orthogonality.normalizedBound);
  });

  test("singular values as NumPy has them", async () => {
    const spectrum = await spectrumOf(matrix, nodeProbe, true);
    if (!isComputed(spectrum)) throw new Error(spectrum.notComputed);
    // Small singular values come from squares: 1e-16 of the largest square.
    checkSpectrum(spectrum, expected.spectrum, 1e-9);
    expected.singularValues.forEach((value, i) => {
      close(spectrum.singularValues[i], value, 1e-9, `singular value ${i}`);
    });
  });

  test("the deviation from orthonormal units follows from the singular values too", async () => {
    const spectrum = await spectrumOf(matrix, nodeProbe, true);
    if (!isComputed(spectrum)) throw new Error(spectrum.notComputed);
    const squares = spectrum.singularValues.reduce((sum, value) => sum + (value * value - 1) ** 2, 0);
    close(Math.sqrt(squares + units - spectrum.count), expected.deviation, 1e-9, "deviation");
  });
});

describe.each(responses)("responses: $name", ({ name, rows, units, groups, gamma, ...expected }) => {
  test("angles as NumPy has them", async () => {
    // The layer hands its input on, so that the responses are the block of numbers: a Conv of single positions.
    const b = new GraphBuilder();
    const identity = new Float32Array((units * units) / groups);
    for (let unit = 0; unit < units; unit++) {
      identity[unit * (units / groups) + (unit % (units / groups))] = 1;
    }
    const w = b.graph.addInitializer(Tensor.of("w", "float", [units, units / groups, 1], identity));
    const y = b.op("Conv", [b.input("x", ["batch", units, 1]), w], "y", { group: groups });
    const x = Tensor.of("x", "float", [rows, units, 1], uniform(`responses.${name}`, rows * units, 0.3));
    const report = await responseAngles(modelOf(b, y), { x }, { gamma, batch: 16 }, nodeProbe);
    const [layer] = report.layers;
    if (!layer) throw new Error("no layer");
    // Responses are float32.
    checkPairs(layer, { name, units, groups, ...expected }, 1e-5);
    expect(layer.rows).toBe(rows);
    for (const figure of ["standardError", "saturation", "gradientFactor"] as const) {
      close(layer[figure], expected[figure] as number, 1e-5, figure);
    }
    const left = layer.spread ** 2 - layer.standardError ** 2;
    expect(layer.spreadWithoutError).toBeCloseTo(Math.sqrt(Math.max(left, 0)), 10);
  });
});

describe.each(convolutions)("convolutions: $name", ({ name, op, shape, size, groups, ...expected }) => {
  const kernel = uniform(`convolutions.${name}`, count(shape));
  const { strides, dilations, spectrum, singularValues } = expected;
  const build = () => {
    const b = new GraphBuilder();
    const channels = op === "Conv" ? (shape[1] ?? 0) * groups : (shape[0] ?? 0);
    const w = b.graph.addInitializer(Tensor.of("w", "float", shape, kernel));
    const x = b.input("x", [2, channels, ...size]);
    const reach = shape.slice(2).map((taps, axis) => (taps - 1) * (dilations[axis] ?? 1));
    // As much padding as makes every kernel fit.
    const pads = op === "Conv" ? [...reach, ...reach] : [...reach, ...reach].map(() => 0);
    return { b, y: b.op(op, [x, w], "y", { group: groups, strides, dilations, pads }) };
  };

  test("the whole map's singular values as NumPy has them from a dense matrix", async () => {
    const { b, y } = build();
    const graph = b.output(y);
    await inferShapes(graph, nodeProbe);
    const [site] = findSites(graph).sites;
    if (!site) throw new Error("no site");
    const found = convolutionSpectrum(convolutionOf(site, kernel, shape), Number.POSITIVE_INFINITY);
    if (!isComputed(found)) throw new Error(found.notComputed);
    checkSpectrum(found, spectrum, 1e-8);
    const step = Math.max(Math.floor((spectrum.count ?? 0) / 24), 1);
    expect(singularValues.length).toBe(Math.ceil((spectrum.count ?? 0) / step));
    close(found.profile[0], singularValues[0] ?? 0, 1e-10, "first of the profile");
    close(found.profile[100], spectrum.smallest ?? 0, 1e-8, "last of the profile");
    expect([...found.profile].sort((p, q) => q - p)).toEqual(found.profile);
  });

  test("the report of a model says the same", async () => {
    const { b, y } = build();
    const [layer] = (await weightAngles(modelOf(b, y), {}, nodeProbe)).layers;
    expect(layer?.op).toBe(op);
    if (!layer?.convolution || !isComputed(layer.convolution)) throw new Error("no spectrum");
    checkSpectrum(layer.convolution, spectrum, 1e-8);
    const larger = op === "Conv" ? size : size.map((positions, axis) => positions * (strides[axis] ?? 1));
    expect([layer.convolution.inputSize, layer.convolution.grid]).toEqual([larger, larger]);
  });
});
