import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import type { RandomGenerator } from "pure-rand/types/RandomGenerator";
import { DataError, UsageError } from "../errors.ts";
import { shapeText } from "../graph/shapes.ts";
import { checkKnown } from "../known-options.ts";
import { randomStream } from "../random.ts";
import { checkDataset } from "./check-dataset.ts";
import { type BatchArray, type Column, type Dataset, type Filled, isPending } from "./dataset.ts";

/** Options of {@link digitPoints}. */
export interface DigitPointOptions {
  /** Points per sample; default 128. */
  readonly points?: number;
  /** A 32-bit integer; default 0. A sample's points are the same in every epoch and do not depend on other samples. */
  readonly seed?: number;
}

/**
 * Converts grey images to point sets. Each point falls into a pixel with a probability proportional to the pixel's ink (its
 * value above that of the image's darkest pixel) and lies at a random position within it.
 *
 * A sample is [3, points]: x to the right and y upwards in −1 … 1 (along the longer side of the image), and z in 0 … 1, the
 * pixel's ink relative to the strongest. Labels stay unchanged.
 *
 * @param images - samples of shape [1, height, width] or [height, width]
 * @throws SorthError for samples of another shape
 *
 * @example
 * const { train } = await loadMnist();
 * digitPoints(train, { points: 128 }).x.shape; // [3, 128]
 */
export function digitPoints(images: Dataset, options: DigitPointOptions = {}): Dataset {
  checkDataset(images);
  checkKnown("digitPoints", options, { points: true, seed: true });
  const { points = 128, seed = 0 } = options;
  const [height, width] = imageSize(images);
  if (!Number.isInteger(points) || points < 1) {
    throw new UsageError(`points must be a whole number of at least 1, not ${points}`);
  }
  const size = 3 * points;
  const fillPoints = (
    indices: ArrayLike<number>,
    target: BatchArray,
    fill: (pixels: Float32Array) => Filled,
  ): Filled => {
    if (target.length < indices.length * size) {
      throw new DataError(
        `${images.name}: ${indices.length} samples need ${indices.length * size} elements, the array holds ${target.length}`,
      );
    }
    if (!(target instanceof Float32Array || target instanceof Float64Array)) {
      throw new DataError(`${images.name}: points are fractions, which an array of integers cannot hold`);
    }
    const pixels = new Float32Array(indices.length * height * width);
    const draw = () => {
      for (let row = 0; row < indices.length; row++) {
        const image = pixels.subarray(row * height * width, (row + 1) * height * width);
        const random = randomStream("points", seed, indices[row] as number);
        drawPoints(image, width, random, target.subarray(row * size, (row + 1) * size));
      }
    };
    const filled = fill(pixels);
    return isPending(filled) ? filled.then(draw) : draw();
  };
  const { labels } = images;
  const [pixels] = images.inputs?.values() ?? [];
  const x: Column | undefined = pixels && {
    ...{ name: "x", type: "float", shape: [3, points] },
    range: () => ({ least: -1, most: 1, whole: false }),
    fill: (indices, target, pass) =>
      fillPoints(indices, target, (values) => pixels.fill(indices, values, pass)),
  };
  return {
    name: `${images.name} as points`,
    size: images.size,
    x: { type: "float", shape: [3, points] },
    y: images.y,
    ...(x && labels && { inputs: new Map([["x", x]]), labels }),
    fill: (indices, target, y, pass) =>
      fillPoints(indices, target, (values) => images.fill(indices, values, y, pass)),
  };
}

/** Height and width of grey images. */
function imageSize({ name, x: { shape } }: Dataset): [number, number] {
  const [height, width, ...others] = shape.length === 3 && shape[0] === 1 ? shape.slice(1) : shape;
  if (height !== undefined && width !== undefined && others.length === 0) return [height, width];
  throw new DataError(
    `${name}: samples of shape ${shapeText(shape)} are not grey images; points need [1, height, width]`,
  );
}

/** Draws the points of one image into `target`, [3, points]. */
function drawPoints(
  image: Float32Array,
  width: number,
  random: RandomGenerator,
  target: Float32Array | Float64Array,
): void {
  const points = target.length / 3;
  const height = image.length / width;
  const least = image.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const most = image.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  // Cumulative ink up to each pixel; an image of one colour is covered evenly.
  const flat = most === least;
  let sum = 0;
  const sums = Float64Array.from(image, (value) => {
    sum += flat ? 1 : value - least;
    return sum;
  });
  const half = Math.max(width, height) / 2;
  for (let point = 0; point < points; point++) {
    const pixel = firstAbove(sums, uniformFloat64(random) * sum);
    const column = (pixel % width) + uniformFloat64(random);
    const row = Math.floor(pixel / width) + uniformFloat64(random);
    target[point] = (column - width / 2) / half;
    target[points + point] = (height / 2 - row) / half;
    target[2 * points + point] = flat ? 0 : ((image[pixel] as number) - least) / (most - least);
  }
}

/** The first index whose cumulative sum exceeds `value`. */
function firstAbove(sums: Float64Array, value: number): number {
  let [low, high] = [0, sums.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sums[middle] as number) > value) high = middle;
    else low = middle + 1;
  }
  return low;
}
