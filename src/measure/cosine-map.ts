/** Cosines between units as a square picture, small enough to look at. */
export interface CosineMap {
  /** Cells on a side. */
  readonly size: number;
  /**
   * Units that share a row (or column) of cells. A cell shows the cosine with the largest magnitude among its pairs, so that
   * a single duplicate among thousands stays visible.
   */
  readonly unitsPerCell: number;
  /** Cells row by row; null where there is no pair: on the diagonal, between groups, for dead units. */
  readonly cells: readonly (number | null)[];
}

/** Fills a {@link CosineMap} pair by pair. */
export class CosineMapBuilder {
  readonly #size: number;
  readonly #unitsPerCell: number;
  readonly #cells: (number | null)[];

  /** @param largest - most cells on a side */
  constructor(units: number, largest: number) {
    this.#unitsPerCell = Math.max(Math.ceil(units / largest), 1);
    this.#size = Math.ceil(units / this.#unitsPerCell);
    this.#cells = new Array<number | null>(this.#size ** 2).fill(null);
  }

  /** Adds a pair i < j of units. */
  add(i: number, j: number, cosine: number): void {
    const row = Math.floor(i / this.#unitsPerCell);
    const column = Math.floor(j / this.#unitsPerCell);
    const upper = row * this.#size + column;
    const held = this.#cells[upper];
    if (held != null && Math.abs(held) >= Math.abs(cosine)) return;
    this.#cells[upper] = cosine;
    this.#cells[column * this.#size + row] = cosine;
  }

  build(): CosineMap {
    return { size: this.#size, unitsPerCell: this.#unitsPerCell, cells: this.#cells };
  }
}
