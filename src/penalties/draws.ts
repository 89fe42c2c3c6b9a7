import { Random } from "../random.ts";

/** A matrix of random float32 numbers that a penalty needs. */
export interface Draw {
  /** "sphere": every row uniform on the unit sphere; "uniform": numbers from 0 to 1; "normal": mean 0, deviation 1. */
  readonly distribution: "sphere" | "uniform" | "normal";
  /** [rows, numbers in a row]. */
  readonly shape: readonly [number, number];
  /** The same seed gives the same numbers. */
  readonly seed: number;
  /** How often training draws new numbers. In graphs without such an input (an injected model) they are a constant. */
  readonly anew: "never" | "epoch" | "step";
}

/**
 * The numbers of a draw, row by row.
 * @param of - the run's seed and its epoch or step, each of which gives other numbers; absent if the numbers are constants
 */
export function drawn(
  { distribution, shape, seed }: Draw,
  of?: { readonly run: number; readonly round: number },
): Float32Array {
  const [rows, columns] = shape;
  // The shape is part of the key, so that two layers do not get the same numbers in another layout.
  const keys = [seed, rows, columns, ...(of ? [of.run, of.round] : [])];
  const random = new Random(`penalty, ${distribution}`, ...keys);
  const numbers = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const line = Array.from({ length: columns }, () =>
      distribution === "uniform" ? random.uniform() : random.normal(),
    );
    const norm = distribution === "sphere" ? Math.hypot(...line) : 1;
    line.forEach((number, i) => {
      numbers[row * columns + i] = number / norm;
    });
  }
  return numbers;
}

/**
 * Chooses at most `most` of `count` positions, ascending and without repetition: one random position from each of `most`
 * stretches of equal length (up to one position). A fixed stride would always hit the same columns of an image.
 *
 *     stretch i begins at bᵢ = ⌊i·count/most⌋; its position is bᵢ + ⌊uᵢ·(bᵢ₊₁ − bᵢ)⌋, uᵢ uniform from 0 to 1
 */
export function chosenPositions(count: number, most: number, seed: number): number[] {
  if (count <= most) return Array.from({ length: count }, (_, i) => i);
  return placesInStretch(most, seed).map((place, i) => {
    const start = Math.floor((i * count) / most);
    const length = Math.floor(((i + 1) * count) / most) - start;
    return start + Math.floor((place * length) / stretch);
  });
}

/** Number of places that a stretch is divided into. */
export const stretch = 2 ** 16;

/** The random place of each stretch, 0 to {@link stretch} − 1. */
export function placesInStretch(most: number, seed: number): number[] {
  const random = new Random("positions", seed);
  return Array.from({ length: most }, () => random.integer(stretch));
}
