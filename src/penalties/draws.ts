import { Random } from "../onnx/random-tensors.ts";

/** Random numbers that a penalty needs: a matrix of float32 numbers. */
export interface Draw {
  /** "sphere": every row uniform on the unit sphere; "uniform": numbers from 0 to 1. */
  readonly distribution: "sphere" | "uniform";
  /** [rows, numbers in a row]. */
  readonly shape: readonly [number, number];
  /** The same seed gives the same numbers. */
  readonly seed: number;
  /** When training draws them anew. A graph that nobody draws for (an injected model) holds them as a constant. */
  readonly anew: "never" | "epoch" | "step";
}

/**
 * The numbers of a draw, row by row.
 * @param of - others give other numbers: a run's seed, and its epoch or step; left out where the numbers are constants
 */
export function drawn(
  { distribution, shape, seed }: Draw,
  of?: { readonly run: number; readonly round: number },
): Float32Array {
  const [rows, columns] = shape;
  // The shape too: two layers shall not see the same numbers, laid out otherwise.
  const keys = [seed, rows, columns, ...(of ? [of.run, of.round] : [])];
  const random = new Random(`penalty, ${distribution}`, ...keys);
  const numbers = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const line = Array.from({ length: columns }, () =>
      distribution === "sphere" ? random.normal() : random.uniform(),
    );
    const norm = distribution === "sphere" ? Math.hypot(...line) : 1;
    line.forEach((number, i) => {
      numbers[row * columns + i] = number / norm;
    });
  }
  return numbers;
}

/**
 * Which of `count` positions a subset of at most `most` holds, ascending, each of them once: one from each of `most`
 * stretches of equal length (to a position), at a random place in it. A fixed stride would always meet the same columns of
 * an image.
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

/** Places into which a stretch is divided. */
export const stretch = 2 ** 16;

/** The random place of each stretch, 0 to {@link stretch} − 1. */
export function placesInStretch(most: number, seed: number): number[] {
  const random = new Random("positions", seed);
  return Array.from({ length: most }, () => random.integer(stretch));
}
