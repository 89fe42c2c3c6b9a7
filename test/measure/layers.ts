import type { LayerAngles, LayerResponseAngles, LayerWeightAngles } from "../../src/measure/angle-report.ts";
import type { ConvolutionSpectrum } from "../../src/measure/convolution-spectrum.ts";

/** A histogram of 90 bins with its pairs around 90°. */
const histogram = Array.from({ length: 90 }, (_, bin) =>
  Math.round(2000 * Math.exp(-(((bin - 44.5) / 3) ** 2))),
);

const layer = (name: string): LayerAngles => ({
  ...{ name, op: "Gemm", units: 128, fanIn: 784, groups: 1, pairs: 8128, welchBound: 0 },
  ...{ mean: 89.987, spread: 2.051, min: 80.5, max: 99.123, histogram },
  percentiles: { 1: 85, 5: 86.5, 25: 88.6, 50: 90.01, 75: 91.3, 95: 93.4, 99: 95 },
  ...{ meanAbsoluteCosine: 0.0286, cosineSpread: 0.0358, coherence: 0.165 },
  ...{ dead: 0, deadUnits: [] },
  duplicates: { count: 0, first: [] },
  antiparallel: { count: 0, first: [] },
});

/** Weight angles of a made-up layer. */
export const weightLayer = (name: string, changes: Partial<LayerWeightAngles> = {}): LayerWeightAngles => ({
  ...layer(name),
  ...{ random: 2.046, randomCosine: 1 / 28 },
  orthogonality: { deviation: 7.7021, normalized: 4.569, normalizedBound: 0 },
  spectrum: {
    ...{ count: 128, largest: 0.8085, smallest: 0, condition: Number.POSITIVE_INFINITY, rank: 127 },
    ...{ stableRank: 65.162, effectiveRank: 125.34 },
    singularValues: Array.from({ length: 128 }, (_, i) => 0.8085 * (1 - i / 127)),
  },
  ...changes,
});

/** Response angles of a made-up layer. */
export const responseLayer = (
  name: string,
  changes: Partial<LayerResponseAngles> = {},
): LayerResponseAngles => ({
  ...layer(name),
  ...{ rows: 512, spread: 20.5, standardError: 3.95, spreadWithoutError: 20.1 },
  ...{ saturation: 0.4237, gradientFactor: 0.278 },
  ...changes,
});

/** The spectrum of a made-up convolution. */
export const convolution: ConvolutionSpectrum = {
  ...{ count: 12544, largest: 1.918, smallest: 0.4718, condition: 4.065, rank: 12544 },
  ...{ stableRank: 262.7, effectiveRank: 750.2, inputSize: [28, 28], grid: [28, 28] },
  profile: Array.from({ length: 101 }, (_, i) => 1.918 - (1.4462 * i) / 100),
};
