import type { LayerAngles, LayerResponseAngles, LayerWeightAngles } from "../measure/angle-report.ts";
import type { NotComputed } from "../measure/spectrum.ts";

/** The format of a number. */
type FigureForm = "count" | "angle" | "cosine" | "percent" | "number";

/** One figure of a layer, as tables, CSV and pages show it. */
export interface Figure<Layer> {
  /** Its path in `--json` and in a layer, and its column in `--csv`. */
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

/** Keys of an object's numbers: `mean`, `1`. */
type NumberKey<T> = {
  [K in keyof T & (string | number)]-?: T[K] extends number | undefined ? `${K}` : never;
}[keyof T & (string | number)];

/** Keys of a layer's numbers, and paths to those of its objects: `mean`, `spectrum.rank`. */
type FigureKey<Layer> =
  | NumberKey<Layer>
  | {
      [K in keyof Layer & string]-?: `${K}.${NumberKey<Exclude<Layer[K], NotComputed | undefined>>}`;
    }[keyof Layer & string];

type Row<Layer> = readonly [
  key: FigureKey<Layer>,
  heading: string,
  meaning: string,
  form: FigureForm,
  rank?: number,
];

const figureOf = <Layer extends LayerAngles>(row: Row<Layer>): Figure<Layer> => {
  const [key, heading, meaning, form, rank] = row;
  const value = (layer: Layer): number => {
    const found = key.split(".").reduce<unknown>((part, name) => Reflect.get(Object(part), name), layer);
    return typeof found === "number" ? found : Number.NaN;
  };
  return { key, heading, meaning, form, value, ...(rank !== undefined && { rank }) };
};

/** Figures of the pairs of units, for weights and responses alike. */
const angles: readonly Row<LayerAngles>[] = [
  ["mean", "mean°", "mean angle", "angle", 0],
  ["spread", "spread°", "standard deviation of the angles", "angle", 0],
];

const pairFigures = (cos: string): readonly Row<LayerAngles>[] => [
  ["min", "min°", "smallest angle", "angle", 3],
  ["max", "max°", "largest angle", "angle", 3],
  ["percentiles.1", "p1°", "1 % of the pairs have a smaller angle", "angle"],
  ["percentiles.5", "p5°", "5 % of the pairs have a smaller angle", "angle", 14],
  ["percentiles.25", "p25°", "25 % of the pairs have a smaller angle", "angle"],
  ["percentiles.50", "p50°", "50 % of the pairs have a smaller angle", "angle", 14],
  ["percentiles.75", "p75°", "75 % of the pairs have a smaller angle", "angle"],
  ["percentiles.95", "p95°", "95 % of the pairs have a smaller angle", "angle", 14],
  ["percentiles.99", "p99°", "99 % of the pairs have a smaller angle", "angle"],
  ["meanAbsoluteCosine", `mean|${cos}|`, `mean of |${cos}|`, "cosine", 6],
  ["cosineSpread", `std ${cos}`, `standard deviation of ${cos}`, "cosine", 12],
  ["coherence", `max|${cos}|`, `coherence, the largest |${cos}|`, "cosine", 2],
  ["welchBound", "Welch", "lower bound of the coherence for this many units", "cosine", 9],
];

const units: readonly Row<LayerAngles>[] = [
  ["dead", "dead", "units that are all zeros", "count", 4],
  ["duplicates.count", "same", "pairs less than 0.1° apart", "count", 5],
  ["antiparallel.count", "opposite", "pairs more than 179.9° apart", "count", 7],
  ["pairs", "pairs", "pairs of living units", "count", 15],
  ["sampledUnits", "", "units that formed pairs, if not all did", "count"],
];

const weightRows: readonly Row<LayerWeightAngles>[] = [
  ["units", "units", "units, k", "count", 1],
  ["fanIn", "fan-in", "numbers in a unit's weight vector, d", "count", 4],
  ...angles,
  ["random", "random°", "spread of random weights of this fan-in", "angle", 1],
  ...pairFigures("cos"),
  ["randomCosine", "1/√d", "standard deviation of random weights' cosines", "cosine", 12],
  ["orthogonality.deviation", "‖WᵀW−I‖", "distance from orthonormal units, Frobenius norm", "number", 8],
  ["orthogonality.normalized", "normalized", "the same with units scaled to length 1", "number", 9],
  ["orthogonality.normalizedBound", "bound", "what that cannot go below", "number", 13],
  ["spectrum.largest", "σ₁", "largest singular value", "number", 8],
  ["spectrum.smallest", "σₙ", "smallest singular value", "number", 11],
  ["spectrum.condition", "cond", "condition number, σ₁/σₙ", "number", 7],
  ["spectrum.rank", "rank", "singular values that are not 0", "count", 13],
  ["spectrum.stableRank", "stable", "stable rank, ‖W‖²_F/σ₁²", "number", 10],
  ["spectrum.effectiveRank", "effective", "effective rank, exp of the entropy of σ/Σσ", "number", 10],
  [
    "convolution.largest",
    "conv σ₁",
    "largest singular value of the convolution of a whole image",
    "number",
    11,
  ],
  ["convolution.smallest", "conv σₙ", "its smallest singular value", "number", 14],
  ["convolution.condition", "conv cond", "its condition number", "number", 11],
  ["convolution.stableRank", "", "its stable rank", "number"],
  ["convolution.effectiveRank", "", "its effective rank", "number"],
  ["convolution.count", "", "how many singular values it has", "count"],
  ...units,
];

/** The figures of weight angles, in the order of their columns. */
export const weightFigures = weightRows.map(figureOf);

const responseRows: readonly Row<LayerResponseAngles>[] = [
  ["units", "units", "units, k", "count", 1],
  ["rows", "rows", "rows over which responses were compared, b", "count", 2],
  ...angles,
  ["standardError", "error°", "standard error of one angle", "angle", 1],
  ["spreadWithoutError", "without°", "spread without that error", "angle", 4],
  ...pairFigures("ϑ"),
  ["saturation", "satur.%", "share of responses with |tanh(γY)| > 0.99", "percent", 4],
  ["gradientFactor", "1−tanh²", "mean of 1 − tanh²(γY), the factor of SOM's gradient", "cosine", 8],
  ...units,
];

/** The figures of response angles, in the order of their columns. */
export const responseFigures = responseRows.map(figureOf);
