/** Angles between the units of one layer, in degrees, over all pairs of living units of the same group. */
export interface AngleStatistics {
  /** Number of pairs; with none of them the other numbers are NaN. */
  readonly pairs: number;
  readonly mean: number;
  /** Standard deviation. */
  readonly spread: number;
  readonly min: number;
  readonly max: number;
  /** Pairs in bins of {@link binWidth} degrees from 0° to 180°; 180° itself is in the last one. */
  readonly histogram: readonly number[];
  /** Units without a direction (all zeros), which take part in no pair. */
  readonly dead: number;
}

/** Units as rows of one matrix: unit i is `data[i·fanIn … (i+1)·fanIn − 1]`. */
export interface UnitMatrix {
  /** k: number of units, neighbours of one group side by side. */
  readonly units: number;
  /** d: numbers in one unit's vector. */
  readonly fanIn: number;
  readonly groups: number;
  readonly data: Float32Array | Float64Array;
}

const degrees = 180 / Math.PI;

/** Width of a bin of {@link AngleStatistics.histogram}, in degrees. */
export const binWidth = 2;
const bins = 180 / binWidth;

/** Collects angles; the variance is kept around 90°, near which they lie. */
class AngleCollector {
  #pairs = 0;
  #sum = 0;
  #squares = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = Number.NEGATIVE_INFINITY;
  readonly #histogram = new Array<number>(bins).fill(0);

  add(angle: number): void {
    const offset = angle - 90;
    this.#pairs++;
    this.#sum += offset;
    this.#squares += offset * offset;
    if (angle < this.#min) this.#min = angle;
    if (angle > this.#max) this.#max = angle;
    const bin = Math.min(Math.floor(angle / binWidth), bins - 1);
    this.#histogram[bin] = (this.#histogram[bin] ?? 0) + 1;
  }

  statistics(dead: number): AngleStatistics {
    const pairs = this.#pairs;
    const histogram = this.#histogram;
    if (pairs === 0) {
      const none = Number.NaN;
      return { pairs, mean: none, spread: none, min: none, max: none, histogram, dead };
    }
    const offset = this.#sum / pairs;
    const variance = Math.max(this.#squares / pairs - offset * offset, 0);
    return {
      pairs,
      mean: 90 + offset,
      spread: Math.sqrt(variance),
      min: this.#min,
      max: this.#max,
      histogram,
      dead,
    };
  }
}

const clampCosine = (cosine: number): number => Math.min(Math.max(cosine, -1), 1);

/** Rows that are worked on together, so that both sides of a block of pairs stay in the processor's cache. */
const blockRows = 64;
/** Rows on each side of one tile of dot products: 16 sums at a time for 8 numbers read. */
const tile = 4;

/**
 * Angles between weight vectors: acos of their cosine, in float64. Pairs are visited block by block; no k×k matrix is
 * stored.
 *
 * @example
 * // Rows (1, 0), (0, 1), (1, 1)
 * angleStatistics({ units: 3, fanIn: 2, groups: 1, data: Float64Array.of(1, 0, 0, 1, 1, 1) }).mean; // 60
 */
export function angleStatistics(matrix: UnitMatrix): AngleStatistics {
  const { units, fanIn, groups, data } = matrix;
  const norms = Float64Array.from({ length: units }, (_, unit) => norm(data, unit * fanIn, fanIn));
  const collector = new AngleCollector();
  const products = new Float64Array(tile * tile);
  const size = units / groups;
  for (let first = 0; first < units; first += size) {
    const end = first + size;
    for (const [row, column] of tiles(first, end)) {
      tileProducts(data, fanIn, row, column, end - 1, products);
      for (let r = 0; r < tile; r++) {
        for (let c = 0; c < tile; c++) {
          const [i, j] = [row + r, column + c];
          if (j <= i || j >= end) continue;
          const scale = (norms[i] as number) * (norms[j] as number);
          if (scale === 0) continue;
          const cosine = (products[r * tile + c] as number) / scale;
          collector.add(Math.acos(clampCosine(cosine)) * degrees);
        }
      }
    }
  }
  return collector.statistics(norms.filter((length) => length === 0).length);
}

/** Length of a vector inside an array. */
function norm(data: Float32Array | Float64Array, start: number, length: number): number {
  let sum = 0;
  for (let i = start; i < start + length; i++) sum += (data[i] as number) ** 2;
  return Math.sqrt(sum);
}

/** Corners of the tiles that cover every pair i < j of rows first … end − 1, block by block. */
function* tiles(first: number, end: number): Generator<readonly [number, number]> {
  for (let top = first; top < end; top += blockRows) {
    for (let left = top; left < end; left += blockRows) {
      for (let row = top; row < Math.min(top + blockRows, end); row += tile) {
        for (let column = Math.max(left, row); column < Math.min(left + blockRows, end); column += tile) {
          yield [row, column];
        }
      }
    }
  }
}

/** Dot products of four rows with four others; rows behind `last` are `last` again and count for nothing. */
function tileProducts(
  data: Float32Array | Float64Array,
  length: number,
  row: number,
  column: number,
  last: number,
  products: Float64Array,
): void {
  const a0 = row * length;
  const a1 = Math.min(row + 1, last) * length;
  const a2 = Math.min(row + 2, last) * length;
  const a3 = Math.min(row + 3, last) * length;
  for (let c = 0; c < tile; c++) {
    const b = Math.min(column + c, last) * length;
    let [p0, p1, p2, p3] = [0, 0, 0, 0];
    for (let i = 0; i < length; i++) {
      const y = data[b + i] as number;
      p0 += (data[a0 + i] as number) * y;
      p1 += (data[a1 + i] as number) * y;
      p2 += (data[a2 + i] as number) * y;
      p3 += (data[a3 + i] as number) * y;
    }
    products[c] = p0;
    products[tile + c] = p1;
    products[2 * tile + c] = p2;
    products[3 * tile + c] = p3;
  }
}

/**
 * Spread that angles between random directions of d dimensions have around 90°, in degrees: about 180/(π√d), the spread
 * of their cosine (exactly 1/√d). Their density is sin^(d−2); integration by parts gives Var(d) = Var(d − 2) − 2/(d − 2)²
 * with Var(1) = π²/4 and Var(2) = π²/12.
 */
export function randomSpread(dimensions: number): number {
  let variance = dimensions % 2 === 1 ? Math.PI ** 2 / 4 : Math.PI ** 2 / 12;
  for (let n = dimensions % 2 === 1 ? 1 : 2; n < dimensions; n += 2) variance -= 2 / n ** 2;
  return Math.sqrt(variance) * degrees;
}

/**
 * Response angles (π/2)(1 − ϑ) from the Gram matrices K of tanh-squashed responses, where ϑᵢⱼ = Kᵢⱼ/√(KᵢᵢKⱼⱼ) (DESIGN §3):
 * 0° for responses that always agree in sign, 180° for opposite ones, 90° for uncorrelated ones.
 *
 * @param gram - [groups, units/groups, units/groups]
 * @param epsilon - added to the diagonal; a unit with Kᵢᵢ up to it is dead
 */
export function responseAngleStatistics(
  gram: Float64Array,
  units: number,
  groups: number,
  epsilon: number,
): AngleStatistics {
  const size = units / groups;
  const collector = new AngleCollector();
  let dead = 0;
  for (let group = 0; group < groups; group++) {
    const at = (i: number, j: number) => gram[(group * size + i) * size + j] as number;
    const norms = Array.from({ length: size }, (_, i) =>
      at(i, i) > epsilon ? Math.sqrt(at(i, i) + epsilon) : 0,
    );
    dead += norms.filter((length) => length === 0).length;
    for (let i = 0; i < size; i++) {
      for (let j = i + 1; j < size; j++) {
        const scale = (norms[i] as number) * (norms[j] as number);
        if (scale > 0) collector.add(90 * (1 - clampCosine(at(i, j) / scale)));
      }
    }
  }
  return collector.statistics(dead);
}
