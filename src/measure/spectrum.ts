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

/** Floating-point operations per second, roughly: 1 to 2.5e9 were measured. */
const operationsPerSecond = 1.5e9;

/** Most operations for the spectrum of one layer, unless the caller asks for all spectra: 1 to 2 seconds. */
const mostOfLayer = 2e9;

/** Most operations for the spectra of all layers of a report together, for each kind: 5 to 10 seconds. */
const mostOfReport = 1e10;

/** Most operations for each single spectrum. */
export interface SpectrumBudget {
  readonly matrix: number;
  readonly convolution: number;
}

/**
 * Divides the operations of a report among its layers. Matrices are ordered by size, the smaller ones first. All convolutions
 * get the same share, because a large one can be computed on a smaller input.
 * @param full - no limit
 */
export function spectrumBudget(sites: readonly Site[], full: boolean): SpectrumBudget {
  if (full) return { matrix: Number.POSITIVE_INFINITY, convolution: Number.POSITIVE_INFINITY };
  let [matrix, sum] = [0, 0];
  for (const operations of sites.map(operationsOf).sort((a, b) => a - b)) {
    sum += operations;
    if (operations > mostOfLayer || sum > mostOfReport) break;
    matrix = operations;
  }
  const convolutions = sites.filter(({ op }) => op === "Conv" || op === "ConvTranspose").length;
  return { matrix, convolution: Math.min(mostOfLayer, mostOfReport / Math.max(convolutions, 1)) };
}

const operationsOf = ({ units, groups, fanIn }: Pick<Site, "units" | "groups" | "fanIn">): number =>
  groups * eigenvalueOperations(Math.min(units / groups, fanIn));

/** Operations of {@link symmetricEigenvalues} for an n×n matrix. */
export const eigenvalueOperations = (n: number): number => (4 / 3) * n ** 3;

/**
 * Singular values of the matrix whose rows are a layer's units (one block per group): square roots of the eigenvalues of the
 * smaller Gram matrix in float64. This resolves them to about 1e-7·σ₁, the resolution of float32 weights.
 * @param budget - most operations
 */
export async function spectrumOf(
  matrix: UnitMatrix,
  probe: Probe,
  budget: number,
): Promise<Spectrum | NotComputed> {
  const { units, groups, fanIn } = matrix;
  const side = Math.min(units / groups, fanIn);
  const operations = operationsOf(matrix);
  if (operations > budget) {
    return { notComputed: tooLong(`singular values of ${units} units of ${fanIn}`, operations) };
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
export const tooLong = (what: string, operations: number): string =>
  `${what} take about ${Math.ceil(operations / operationsPerSecond)} s: ask for them with --full (full: true)`;

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
