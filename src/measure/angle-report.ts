import type { SiteOp, SkippedSite } from "../analysis/site-types.ts";
import type { ConvolutionSpectrum } from "./convolution-spectrum.ts";
import type { AngleStatistics } from "./pair-statistics.ts";
import type { NotComputed, Spectrum } from "./spectrum.ts";

/** The angles between the units of one layer, in degrees, and their cosines. */
export interface LayerAngles extends AngleStatistics {
  readonly name: string;
  readonly op: SiteOp;
  /** k: number of units. */
  readonly units: number;
  /** d: numbers in one unit's weight vector. */
  readonly fanIn: number;
  readonly groups: number;
  /** The lower bound of the coherence of k vectors in d dimensions (k: units of a group; d: the fan-in, or the rows of responses). */
  readonly welchBound: number;
}

/** How far the units W (as columns) are from orthonormal ones, in the Frobenius norm; the diagonal counts too. */
export interface Orthogonality {
  /** ‖WᵀW − I‖. */
  readonly deviation: number;
  /** The same with every unit scaled to length 1, so that angles alone count. NaN where units were sampled. */
  readonly normalized: number;
  /** Lower bound of `normalized`: √(k(k − d)/d) for more units than dimensions, else 0. */
  readonly normalizedBound: number;
}

/** Weight angles of one layer, and other measures of its weight's orthogonality. */
export interface LayerWeightAngles extends LayerAngles {
  /** Spread of the angles between random directions of this fan-in, in degrees; orthogonal units have 0. */
  readonly random: number;
  /** Spread of their cosines: 1/√d. */
  readonly randomCosine: number;
  readonly orthogonality: Orthogonality;
  /** Spectrum of the flattened weight; left out with `spectra: false`. */
  readonly spectrum?: Spectrum | NotComputed;
  /** Spectrum of a Conv or ConvTranspose as a map of whole images; left out with `spectra: false`. */
  readonly convolution?: ConvolutionSpectrum | NotComputed;
  /** `[units, fanIn]`: the weight vectors, with `vectors: true`. */
  readonly vectors?: Float32Array | Float64Array;
}

/** Response angles of one layer. They use ϑ, the correlation of squashed responses, as the cosine. */
export interface LayerResponseAngles extends LayerAngles {
  /** b: rows (samples × positions) over which responses were compared. */
  readonly rows: number;
  /**
   * Standard error of one angle, in degrees, as the root mean square over the pairs of 90°·√((1 − ϑ²)/b): exact for
   * responses ±1 in independent rows (DESIGN §3), too small where rows are neighbouring positions of one image.
   */
  readonly standardError: number;
  /** The spread without that error: √(spread² − standardError²), or 0. */
  readonly spreadWithoutError: number;
  /** Share of the responses with |tanh(γY)| > 0.99. */
  readonly saturation: number;
  /** Mean of 1 − tanh²(γY), the factor by which SOM's gradient reaches the responses: 0 if all of them are saturated. */
  readonly gradientFactor: number;
  /** `[groups, units/groups, units/groups]`: ϑ of every two units (of the sampled ones), 0 for dead ones; with `cosines: true`. */
  readonly cosines?: Float32Array;
}

/** Angles of a model's layers, in the order of its nodes. */
export interface AngleReport<Layer extends LayerAngles> {
  readonly layers: readonly Layer[];
  /** Layers without angles, and why. */
  readonly skipped: readonly SkippedSite[];
}

/** Options of all angle measurements. */
export interface AngleOptions {
  /** Forms pairs of all units and computes every spectrum, however long it takes (default false: see docs/angles.md). */
  readonly full?: boolean;
  /** Also returns the angles in at most this many bins for a histogram; fewer if there are few pairs (default: none). */
  readonly bins?: number;
  /** Also returns the cosines as a picture of at most this many cells on a side (default: none). */
  readonly mapSize?: number;
  /** Receives the name of each layer before it is measured. */
  readonly onLayer?: (name: string) => void;
}

/** Options of {@link responseAngles}. */
export interface ResponseAngleOptions extends AngleOptions {
  /** Steepness of tanh(γY), as in the penalty (default 10). */
  readonly gamma?: number;
  /** Samples per run, if the model leaves its batch open (default 64). */
  readonly batch?: number;
  /** Also returns the matrices of cosines ϑ (default false). */
  readonly cosines?: boolean;
}
