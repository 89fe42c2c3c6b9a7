import type { LayerAngles, LayerResponseAngles, LayerWeightAngles } from "../measure/angle-report.ts";
import { isComputed, type NotComputed, type SpectralFigures } from "../measure/spectrum.ts";

/** The format of a number. */
export type FigureForm = "count" | "angle" | "cosine" | "percent" | "number";

/** One figure of a layer, as tables, CSV and pages show it. */
export interface Figure<Layer> {
  /** Its path in `--json`, and its column in `--csv`. */
  readonly key: string;
  /** The heading of its column. */
  readonly heading: string;
  /** Its meaning in a few words. */
  readonly meaning: string;
  readonly form: FigureForm;
  /** In a table too narrow for all columns, the highest ranks are left out first; a figure without a rank is in no table. */
  readonly rank?: number;
  /** NaN if the layer does not have it. */
  readonly value: (layer: Layer) => number;
}

/** The number as text; a dash if there is none. */
export function figureText(value: number, form: FigureForm): string {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (form === "count") return `${value}`;
  if (form === "angle") return value.toFixed(2);
  if (form === "cosine") return value.toFixed(3);
  if (form === "percent") return (100 * value).toFixed(1);
  const size = Math.abs(value);
  return size >= 1e5 || (size < 1e-3 && size > 0) ? value.toExponential(1) : `${+value.toPrecision(4)}`;
}

type Place = readonly [
  key: string,
  heading: string,
  meaning: string,
  form: FigureForm,
  rank?: number | undefined,
];

const figure = <Layer>(
  [key, heading, meaning, form, rank]: Place,
  value: (layer: Layer) => number,
): Figure<Layer> => ({ key, heading, meaning, form, value, ...(rank !== undefined && { rank }) });

const percentile = (percent: 1 | 5 | 25 | 50 | 75 | 95 | 99, rank?: number): Figure<LayerAngles> =>
  figure(
    [
      `percentiles.${percent}`,
      `p${percent}°`,
      `${percent} % of the pairs have a smaller angle`,
      "angle",
      rank,
    ],
    ({ percentiles }) => percentiles[percent],
  );

/** Figures of the pairs of units, for weights and responses alike. */
const angles: readonly Figure<LayerAngles>[] = [
  figure(["mean", "mean°", "mean angle", "angle", 0], ({ mean }) => mean),
  figure(["spread", "spread°", "standard deviation of the angles", "angle", 0], ({ spread }) => spread),
];
const extremes: readonly Figure<LayerAngles>[] = [
  figure(["min", "min°", "smallest angle", "angle", 3], ({ min }) => min),
  figure(["max", "max°", "largest angle", "angle", 3], ({ max }) => max),
];
/** @param cos - the symbol for the cosine */
const cosines = (cos: string): readonly Figure<LayerAngles>[] => [
  figure(
    ["meanAbsoluteCosine", `mean|${cos}|`, `mean of |${cos}|`, "cosine", 6],
    (l) => l.meanAbsoluteCosine,
  ),
  figure(["cosineSpread", `std ${cos}`, `standard deviation of ${cos}`, "cosine", 12], (l) => l.cosineSpread),
  figure(["coherence", `max|${cos}|`, `coherence, the largest |${cos}|`, "cosine", 2], (l) => l.coherence),
  figure(
    ["welchBound", "Welch", "lower bound of the coherence for this many units", "cosine", 9],
    ({ welchBound }) => welchBound,
  ),
];
const percentiles: readonly Figure<LayerAngles>[] = [
  percentile(1),
  percentile(5, 14),
  percentile(25),
  percentile(50, 14),
  percentile(75),
  percentile(95, 14),
  percentile(99),
];
const units: readonly Figure<LayerAngles>[] = [
  figure(["dead", "dead", "units that are all zeros", "count", 4], ({ dead }) => dead),
  figure(
    ["duplicates.count", "same", "pairs less than 0.1° apart", "count", 5],
    ({ duplicates }) => duplicates.count,
  ),
  figure(
    ["antiparallel.count", "opposite", "pairs more than 179.9° apart", "count", 7],
    ({ antiparallel }) => antiparallel.count,
  ),
  figure(["pairs", "pairs", "pairs of living units", "count", 15], ({ pairs }) => pairs),
];

/** Reads a number of a figure that may not have been computed. */
const inside =
  <Layer, Part extends object>(
    part: (layer: Layer) => Part | NotComputed | undefined,
    value: (found: Part) => number,
  ) =>
  (layer: Layer): number => {
    const found = part(layer);
    return found && isComputed(found) ? value(found) : Number.NaN;
  };
const spectrum = (value: (found: SpectralFigures) => number) =>
  inside((layer: LayerWeightAngles) => layer.spectrum, value);
const convolution = (value: (found: SpectralFigures) => number) =>
  inside((layer: LayerWeightAngles) => layer.convolution, value);

/** The figures of weight angles, in the order of their columns. */
export const weightFigures: readonly Figure<LayerWeightAngles>[] = [
  figure(["units", "units", "units, k", "count", 1], (layer) => layer.units),
  figure(["fanIn", "fan-in", "numbers in a unit's weight vector, d", "count", 4], (layer) => layer.fanIn),
  ...angles,
  figure(
    ["random", "random°", "spread of random weights of this fan-in", "angle", 1],
    ({ random }) => random,
  ),
  ...extremes,
  ...percentiles,
  ...cosines("cos"),
  figure(
    ["randomCosine", "1/√d", "standard deviation of random weights' cosines", "cosine", 12],
    (layer) => layer.randomCosine,
  ),
  figure(
    ["orthogonality.deviation", "‖WᵀW−I‖", "distance from orthonormal units, Frobenius norm", "number", 8],
    ({ orthogonality }) => orthogonality.deviation,
  ),
  figure(
    ["orthogonality.normalized", "normalized", "the same with units scaled to length 1", "number", 9],
    ({ orthogonality }) => orthogonality.normalized,
  ),
  figure(
    ["orthogonality.normalizedBound", "bound", "what that cannot go below", "number", 13],
    ({ orthogonality }) => orthogonality.normalizedBound,
  ),
  figure(
    ["spectrum.largest", "σ₁", "largest singular value", "number", 8],
    spectrum((s) => s.largest),
  ),
  figure(
    ["spectrum.smallest", "σₙ", "smallest singular value", "number", 11],
    spectrum((s) => s.smallest),
  ),
  figure(
    ["spectrum.condition", "cond", "condition number, σ₁/σₙ", "number", 7],
    spectrum((s) => s.condition),
  ),
  figure(
    ["spectrum.rank", "rank", "singular values that are not 0", "count", 13],
    spectrum((s) => s.rank),
  ),
  figure(
    ["spectrum.stableRank", "stable", "stable rank, ‖W‖²_F/σ₁²", "number", 10],
    spectrum((s) => s.stableRank),
  ),
  figure(
    ["spectrum.effectiveRank", "effective", "effective rank, exp of the entropy of σ/Σσ", "number", 10],
    spectrum((s) => s.effectiveRank),
  ),
  figure(
    [
      "convolution.largest",
      "conv σ₁",
      "largest singular value of the convolution of a whole image",
      "number",
      11,
    ],
    convolution((s) => s.largest),
  ),
  figure(
    ["convolution.smallest", "conv σₙ", "its smallest singular value", "number", 14],
    convolution((s) => s.smallest),
  ),
  figure(
    ["convolution.condition", "conv cond", "its condition number", "number", 11],
    convolution((s) => s.condition),
  ),
  figure(
    ["convolution.stableRank", "", "its stable rank", "number"],
    convolution((s) => s.stableRank),
  ),
  figure(
    ["convolution.effectiveRank", "", "its effective rank", "number"],
    convolution((s) => s.effectiveRank),
  ),
  figure(
    ["convolution.count", "", "how many singular values it has", "count"],
    convolution((s) => s.count),
  ),
  ...units,
  figure(
    ["sampledUnits", "", "units that formed pairs, if not all did", "count"],
    (layer) => layer.sampledUnits ?? Number.NaN,
  ),
];

/** The figures of response angles, in the order of their columns. */
export const responseFigures: readonly Figure<LayerResponseAngles>[] = [
  figure(["units", "units", "units, k", "count", 1], (layer) => layer.units),
  figure(["rows", "rows", "rows over which responses were compared, b", "count", 2], ({ rows }) => rows),
  ...angles,
  figure(
    ["standardError", "error°", "standard error of one angle", "angle", 1],
    ({ standardError }) => standardError,
  ),
  figure(
    ["spreadWithoutError", "without°", "spread without that error", "angle", 4],
    (layer) => layer.spreadWithoutError,
  ),
  ...extremes,
  ...percentiles,
  ...cosines("ϑ"),
  figure(
    ["saturation", "satur.%", "share of responses with |tanh(γY)| > 0.99", "percent", 4],
    ({ saturation }) => saturation,
  ),
  figure(
    ["gradientFactor", "1−tanh²", "mean of 1 − tanh²(γY), the factor of SOM's gradient", "cosine", 8],
    (layer) => layer.gradientFactor,
  ),
  ...units,
  figure(
    ["sampledUnits", "", "units that formed pairs, if not all did", "count"],
    (layer) => layer.sampledUnits ?? Number.NaN,
  ),
];
