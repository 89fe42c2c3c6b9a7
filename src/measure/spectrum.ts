import type { Probe } from "../analysis/probe.ts";
import type { Site } from "../analysis/site-types.ts";
import { messageOf } from "../errors.ts";
import { smallerGram } from "./gram.ts";
import { symmetricEigenvalues } from "./symmetric-eigenvalues.ts";
import type { UnitMatrix } from "./unit-vectors.ts";

/** A figure that was not computed, and why. */
export interface NotComputed {
  readonly notComputed: string;
}

/** Whether a figure was computed. */
export function isComputed<T extends object>(figure: T | NotComputed): figure is T {
  return !("notComputed" in figure);
}

/** Figures of the singular values σ₁ ≥ σ₂ ≥ … of a matrix. A figure that does not exist is NaN, and null in JSON. */
export interface SpectralFigures {
  /** Number of singular values: the shorter side of the matrix, summed over all groups. */
  readonly count: number;
  /** σ₁, the spectral norm. */
  readonly largest: number;
  readonly smallest: number;
  /** σ₁ divided by the smallest; Infinity for a rank-deficient matrix. */
  readonly condition: number;
  /**
   * Number of singular values above the resolution of the method, √(n·2⁻⁵²)·σ₁ ≈ 1e-7·σ₁ (n: the longer side); the others
   * count as 0.
   */
  readonly rank: number;
  /** ‖W‖²_F / σ₁² (Rudelson & Vershynin 2007). */
  readonly stableRank: number;
  /** exp of the entropy of σᵢ/Σσ (Roy & Vetterli 2007): from 1 to `count`; orthogonal units of equal length reach `count`. */
  readonly effectiveRank: number;
}

/** The singular values of a layer's units as one matrix. */
export interface Spectrum extends SpectralFigures {
  /** Descending. */
  readonly singularValues: readonly number[];
}

/** Floating-point operations per second, roughly: 2.3e9 to 5.7e9 were measured for matrices, 1.2e9 to 2.5e9 for convolutions. */
const operationsPerSecond = { matrix: 4e9, convolution: 1.5e9 };

/** Most operations for the spectrum of one layer, unless the caller asks for all spectra: up to a second, or 1 to 2 for a convolution. */
const mostOfLayer = 2e9;

/** Most operations for the spectra of all layers of a report together, for each kind: 5 to 10 seconds. */
const mostOfReport = { matrix: 4e10, convolution: 1e10 };

/** What of a report's spectra is computed. */
export interface SpectrumBudget {
  /** Layers whose singular values are computed. */
  readonly matrices: ReadonlySet<Site>;
  /** Most operations for each convolution. */
  readonly convolution: number;
}

/**
 * Divides the operations of a report among its layers. Matrices are taken by size, the smaller ones first, and of the same size
 * in the order of the model. All convolutions get the same share, because a large one can be computed on a smaller input.
 * @param sites - without those that have the units of another one
 * @param full - no limit
 */
export function spectrumBudget(sites: readonly Site[], full: boolean): SpectrumBudget {
  if (full) return { matrices: new Set(sites), convolution: Number.POSITIVE_INFINITY };
  let sum = 0;
  const matrices = [...sites]
    .sort((a, b) => operationsOf(a) - operationsOf(b))
    .filter((site) => {
      sum += operationsOf(site);
      return operationsOf(site) <= mostOfLayer && sum <= mostOfReport.matrix;
    });
  const convolutions = sites.filter(({ op }) => op === "Conv" || op === "ConvTranspose").length;
  const share = mostOfReport.convolution / Math.max(convolutions, 1);
  return { matrices: new Set(matrices), convolution: Math.min(mostOfLayer, share) };
}

const operationsOf = ({ units, groups, fanIn }: Pick<Site, "units" | "groups" | "fanIn">): number =>
  groups * eigenvalueOperations(Math.min(units / groups, fanIn));

/** Operations of {@link symmetricEigenvalues} for an n×n matrix. */
export const eigenvalueOperations = (n: number): number => (4 / 3) * n ** 3;

/**
 * Singular values of the matrix whose rows are a layer's units (one block per group): square roots of the eigenvalues of the
 * smaller Gram matrix in float64. This resolves them to about 1e-7·σ₁, the resolution of float32 weights.
 * @param isAffordable - false where the report has no time for it
 */
export async function spectrumOf(
  matrix: UnitMatrix,
  probe: Probe,
  isAffordable: boolean,
): Promise<Spectrum | NotComputed> {
  const { units, groups, fanIn } = matrix;
  const side = Math.min(units / groups, fanIn);
  if (!isAffordable) {
    const what = `singular values of ${units} units of ${fanIn}`;
    const operations = operationsOf(matrix);
    const isLong = operations > mostOfLayer;
    return { notComputed: isLong ? tooLong(what, operations / operationsPerSecond.matrix) : leftOut(what) };
  }
  const squares: number[] = [];
  try {
    const { data } = await smallerGram(matrix, probe);
    for (let group = 0; group < groups; group++) {
      const gram = data.slice(group * side * side, (group + 1) * side * side);
      for (const square of symmetricEigenvalues(gram, side)) squares.push(square);
    }
  } catch (error) {
    return { notComputed: messageOf(error) };
  }
  const values = singularValues(squares, Math.max(units / groups, fanIn));
  return { ...spectralFigures(values), singularValues: [...values] };
}

/** The message for figures that would take too long. */
const tooLong = (what: string, seconds: number): string =>
  `${what} take about ${Math.ceil(seconds)} s: ask for them with --full (full: true)`;

/** The message for figures that would be quick by themselves. */
const leftOut = (what: string): string =>
  `${what} are left out, because those of all layers together take over ${mostOfReport.matrix / operationsPerSecond.matrix} s: ask for them with --full (full: true)`;

/** The message for a convolution whose singular values would take too long. */
export const tooLongConvolution = (operations: number): string =>
  tooLong("the singular values of this convolution", operations / operationsPerSecond.convolution);

/**
 * Square roots of eigenvalues, descending. Eigenvalues below the resolution n·2⁻⁵² of the largest one count as 0.
 * @param n - the longer side of the matrix
 */
export function singularValues(eigenvalues: readonly number[], n: number): Float64Array {
  const values = Float64Array.from(eigenvalues).sort().reverse();
  const least = (values[0] ?? 0) * n * Number.EPSILON;
  return values.map((value) => (value > least ? Math.sqrt(value) : 0));
}

/** @param values - singular values, descending */
export function spectralFigures(values: Float64Array): SpectralFigures {
  const largest = values[0] ?? Number.NaN;
  const smallest = values.at(-1) ?? Number.NaN;
  const sum = values.reduce((total, value) => total + value, 0);
  const squares = values.reduce((total, value) => total + value * value, 0);
  let entropy = 0;
  for (const value of values) if (value > 0) entropy -= (value / sum) * Math.log(value / sum);
  const none = !(largest > 0);
  return {
    count: values.length,
    largest,
    smallest,
    condition: none ? Number.NaN : largest / smallest,
    rank: values.filter((value) => value > 0).length,
    stableRank: none ? Number.NaN : squares / largest ** 2,
    effectiveRank: none ? Number.NaN : Math.exp(entropy),
  };
}
