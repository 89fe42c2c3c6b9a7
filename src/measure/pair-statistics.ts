import { type CosineMap, CosineMapBuilder } from "./cosine-map.ts";
import { type Distribution, distributionOf } from "./distribution.ts";

/** Pairs of units: their number, and the first 20 of them. */
export interface UnitPairs {
  readonly count: number;
  readonly first: readonly (readonly [number, number])[];
}

/** Percentiles of the pairs' angles, interpolated between neighbours, to 0.001°. */
export interface AnglePercentiles {
  readonly 1: number;
  readonly 5: number;
  readonly 25: number;
  readonly 50: number;
  readonly 75: number;
  readonly 95: number;
  readonly 99: number;
}

/**
 * Angles between the units of one layer, in degrees, and their cosines, over all pairs of living units of the same group. A
 * figure that does not exist (a mean without pairs) is NaN, and null in JSON.
 */
export interface AngleStatistics {
  /** Number of pairs; if it is 0, the other numbers are NaN. */
  readonly pairs: number;
  readonly mean: number;
  /** Standard deviation. */
  readonly spread: number;
  readonly min: number;
  readonly max: number;
  readonly percentiles: AnglePercentiles;
  /** Pairs in bins of 2 degrees from 0° to 180°; 180° itself is in the last one. */
  readonly histogram: readonly number[];
  /** Mean of |cos|. */
  readonly meanAbsoluteCosine: number;
  /** Standard deviation of the cosines. */
  readonly cosineSpread: number;
  /** Coherence: the largest |cos|. */
  readonly coherence: number;
  /** Number of units without a direction (all zeros); they take part in no pair. */
  readonly dead: number;
  /** Indices of the dead units. */
  readonly deadUnits: readonly number[];
  /** Pairs less than 0.1 degrees apart: one unit of each pair is redundant. */
  readonly duplicates: UnitPairs;
  /** Pairs more than 179.9° apart. */
  readonly antiparallel: UnitPairs;
  /** Number of units that formed pairs, if not all did: an evenly drawn, seeded sample. */
  readonly sampledUnits?: number;
  /** The angles in bins of a suitable width, if asked for. */
  readonly distribution?: Distribution;
  /** The cosines as a picture, if asked for. */
  readonly cosineMap?: CosineMap;
}

/** The percentiles of {@link AnglePercentiles}. */
const percents = [1, 5, 25, 50, 75, 95, 99] as const;

/** Width of a bin of {@link AngleStatistics.histogram}, in degrees. */
const binWidth = 2;
/** Two units up to this angle apart, in degrees, count as having the same direction. */
export const sameDirection = 0.1;
/** Most pairs listed in {@link UnitPairs}. */
const listedPairs = 20;

/** Fine bins per degree, from which percentiles are read. */
const fineness = 1000;
const fineBins = 180 * fineness;

/** Products of units with units: `products[r·columns + c]` is the product of unit row + r with unit column + c. */
export interface GramBlock {
  readonly row: number;
  readonly column: number;
  readonly rows: number;
  readonly columns: number;
  readonly products: Float32Array | Float64Array;
}

/** What {@link PairCollector} needs besides the products. */
export interface PairOptions {
  /** Lengths of the units; 0 for a dead one. */
  readonly norms: Float64Array;
  /** Converts a cosine to degrees. */
  readonly angleOf: (cosine: number) => number;
  /** Index in the layer of the n-th unit; undefined if all units take part. */
  readonly indices?: Uint32Array | undefined;
  /** Most bins of {@link AngleStatistics.distribution}, or about 2√pairs if that is less; undefined for no distribution. */
  readonly bins?: number | undefined;
  /** Most cells on a side of the map of cosines; undefined for no map. */
  readonly mapSize?: number | undefined;
}

/** Collects the pairs of a layer block by block. Sums are taken relative to 90°, because most angles are near it. */
export class PairCollector {
  readonly #options: PairOptions;
  readonly #fine = new Float64Array(fineBins);
  readonly #map: CosineMapBuilder | undefined;
  readonly #duplicates: [number, number][] = [];
  readonly #antiparallel: [number, number][] = [];
  #pairs = 0;
  #offsets = 0;
  #offsetSquares = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = Number.NEGATIVE_INFINITY;
  #cosines = 0;
  #absolutes = 0;
  #squares = 0;
  #coherence = 0;
  #duplicateCount = 0;
  #antiparallelCount = 0;
  #productSquares = 0;

  constructor(options: PairOptions) {
    this.#options = options;
    this.#map = options.mapSize ? new CosineMapBuilder(options.norms.length, options.mapSize) : undefined;
  }

  /** Counts the pairs i < j of a block; blocks below the diagonal need not be given. */
  add({ row, column, rows, columns, products }: GramBlock): void {
    const { norms } = this.#options;
    for (let r = 0; r < rows; r++) {
      const i = row + r;
      const length = norms[i] as number;
      for (let c = Math.max(0, i + 1 - column); c < columns; c++) {
        const product = products[r * columns + c] as number;
        this.#productSquares += product * product;
        const scale = length * (norms[column + c] as number);
        if (scale > 0) this.#pair(i, column + c, Math.min(Math.max(product / scale, -1), 1));
      }
    }
  }

  #pair(i: number, j: number, cosine: number): void {
    const angle = this.#options.angleOf(cosine);
    const offset = angle - 90;
    this.#pairs++;
    this.#offsets += offset;
    this.#offsetSquares += offset * offset;
    if (angle < this.#min) this.#min = angle;
    if (angle > this.#max) this.#max = angle;
    const bin = Math.min(Math.floor(angle * fineness), fineBins - 1);
    this.#fine[bin] = (this.#fine[bin] as number) + 1;
    const magnitude = Math.abs(cosine);
    this.#cosines += cosine;
    this.#absolutes += magnitude;
    this.#squares += cosine * cosine;
    if (magnitude > this.#coherence) this.#coherence = magnitude;
    if (angle < sameDirection) {
      if (this.#duplicateCount++ < listedPairs) this.#duplicates.push(this.#named(i, j));
    } else if (angle > 180 - sameDirection) {
      if (this.#antiparallelCount++ < listedPairs) this.#antiparallel.push(this.#named(i, j));
    }
    this.#map?.add(i, j, cosine);
  }

  #named(i: number, j: number): [number, number] {
    const { indices } = this.#options;
    return indices ? [indices[i] as number, indices[j] as number] : [i, j];
  }

  /** Σ over pairs of (uᵢ·uⱼ)² and of cos². */
  get squares(): { readonly products: number; readonly cosines: number } {
    return { products: this.#productSquares, cosines: this.#squares };
  }

  statistics(deadUnits: readonly number[]): AngleStatistics {
    const pairs = this.#pairs;
    const per = (sum: number) => (pairs === 0 ? Number.NaN : sum / pairs);
    const offset = per(this.#offsets);
    const cosine = per(this.#cosines);
    const spread = (squares: number, mean: number) => Math.sqrt(Math.max(per(squares) - mean * mean, 0));
    const { indices, bins } = this.#options;
    return {
      pairs,
      mean: 90 + offset,
      spread: pairs === 0 ? Number.NaN : spread(this.#offsetSquares, offset),
      min: pairs === 0 ? Number.NaN : this.#min,
      max: pairs === 0 ? Number.NaN : this.#max,
      percentiles: this.#percentiles(),
      histogram: this.#histogram(),
      meanAbsoluteCosine: per(this.#absolutes),
      cosineSpread: pairs === 0 ? Number.NaN : spread(this.#squares, cosine),
      coherence: pairs === 0 ? Number.NaN : this.#coherence,
      dead: deadUnits.length,
      deadUnits,
      duplicates: { count: this.#duplicateCount, first: this.#duplicates },
      antiparallel: { count: this.#antiparallelCount, first: this.#antiparallel },
      ...(indices && { sampledUnits: indices.length }),
      ...(bins && pairs > 0 && { distribution: this.#distribution(bins) }),
      ...(this.#map && { cosineMap: this.#map.build() }),
    };
  }

  /** Uses fewer bins for few pairs, which would leave most of many bins empty. */
  #distribution(bins: number): Distribution {
    const enough = Math.max(Math.ceil(2 * Math.sqrt(this.#pairs)), 8);
    return distributionOf(this.#fine, fineness, [this.#min, this.#max], Math.min(bins, enough));
  }

  #histogram(): number[] {
    const histogram = new Array<number>(180 / binWidth).fill(0);
    const width = binWidth * fineness;
    this.#fine.forEach((count, bin) => {
      const coarse = Math.floor(bin / width);
      if (count > 0) histogram[coarse] = (histogram[coarse] ?? 0) + count;
    });
    return histogram;
  }

  #percentiles(): AnglePercentiles {
    const last = this.#pairs - 1;
    const placeOf = (percent: number): number => (last * percent) / 100;
    const neighbours = percents.map(placeOf).flatMap((place) => [Math.floor(place), Math.ceil(place)]);
    const angles = this.#anglesOfRanks(last < 0 ? [] : neighbours);
    const at = (percent: number): number => {
      const place = placeOf(percent);
      const low = angles.get(Math.floor(place)) ?? Number.NaN;
      const high = angles.get(Math.ceil(place)) ?? Number.NaN;
      return low + (high - low) * (place - Math.floor(place));
    };
    return { 1: at(1), 5: at(5), 25: at(25), 50: at(50), 75: at(75), 95: at(95), 99: at(99) };
  }

  /** The angles of the given ranks, counted from 0, in one pass over the bins. With few pairs, two percentiles share ranks. */
  #anglesOfRanks(ranks: readonly number[]): Map<number, number> {
    const angles = new Map<number, number>();
    let bin = -1;
    let below = 0;
    for (const rank of [...ranks].sort((a, b) => a - b)) {
      while (below <= rank) below += this.#fine[++bin] as number;
      angles.set(rank, Math.min(Math.max((bin + 0.5) / fineness, this.#min), this.#max));
    }
    return angles;
  }
}
