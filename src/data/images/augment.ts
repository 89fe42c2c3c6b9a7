import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { randomStream } from "../../random.ts";
import type { TrainingPass } from "../dataset.ts";

/** Random changes of images while training. */
export interface Augmentation {
  /** Mirror left and right, with probability ½. */
  readonly flip?: boolean;
  /** Cut a window of the model's size out of an image that is enlarged by this share of its height and width; default: no window. */
  readonly crop?: number;
  /** Change brightness, contrast and saturation by a factor of up to 1 ± this share; default: no change. */
  readonly color?: number;
}

/** The strength of a change that `--augment` names without a share. */
export const augmentationDefaults = { crop: 0.125, color: 0.2 } as const;

/** Size of images. */
export interface ImageSize {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

/** The changes of one image in one pass over the data. */
export interface DrawnChange {
  /** The part of the enlarged image: its size, and the position of the window. */
  readonly enlarged: { readonly height: number; readonly width: number };
  readonly top: number;
  readonly left: number;
  readonly flips: boolean;
  /** Factors of brightness, contrast and saturation. */
  readonly factors: readonly [number, number, number] | undefined;
}

/** Draws the changes of a sample: they depend on the run's seed, the pass and the sample only. */
export function drawChange(
  { flip = false, crop, color }: Augmentation,
  { height, width }: ImageSize,
  { seed, epoch }: TrainingPass,
  sample: number,
): DrawnChange {
  const random = randomStream("augment", seed, epoch, sample);
  // Every number is drawn, whatever is used, so that one change does not depend on another.
  const [mirrored, down, across, ...shares] = Array.from({ length: 6 }, () => uniformFloat64(random)) as [
    ...[number, number, number, number, number, number],
  ];
  const enlarged = {
    height: height + Math.round(height * (crop ?? 0)),
    width: width + Math.round(width * (crop ?? 0)),
  };
  const factor = (share: number) => 1 + (color ?? 0) * (2 * share - 1);
  const [b, c, s] = shares.map(factor) as [number, number, number];
  return {
    enlarged,
    top: Math.min(Math.floor(down * (enlarged.height - height + 1)), enlarged.height - height),
    left: Math.min(Math.floor(across * (enlarged.width - width + 1)), enlarged.width - width),
    flips: flip && mirrored < 0.5,
    factors: color === undefined ? undefined : [b, c, s],
  };
}

/**
 * Cuts the window out of an enlarged image and changes its colours.
 * @param pixels - [enlarged height, enlarged width, channels]
 * @returns [height, width, channels]
 */
export function applyChange(pixels: Uint8Array, change: DrawnChange, size: ImageSize): Uint8Array {
  const { height, width, channels } = size;
  const { enlarged, top, left, flips, factors } = change;
  const result = new Uint8Array(height * width * channels);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const from = ((top + row) * enlarged.width + left + (flips ? width - 1 - column : column)) * channels;
      const to = (row * width + column) * channels;
      for (let c = 0; c < channels; c++) result[to + c] = pixels[from + c] as number;
    }
  }
  if (factors) changeColours(result, channels, factors);
  return result;
}

/** Brightness, contrast around the mean grey, and saturation, in this order; values stay in 0 … 255. */
function changeColours(
  pixels: Uint8Array,
  channels: number,
  [brightness, contrast, saturation]: readonly [number, number, number],
): void {
  const grey = (at: number) =>
    channels === 3
      ? 0.299 * (pixels[at] as number) +
        0.587 * (pixels[at + 1] as number) +
        0.114 * (pixels[at + 2] as number)
      : (pixels[at] as number);
  let sum = 0;
  for (let at = 0; at < pixels.length; at += channels) sum += grey(at);
  const mean = (brightness * sum * channels) / pixels.length;
  for (let at = 0; at < pixels.length; at += channels) {
    const own = grey(at);
    for (let c = 0; c < channels; c++) {
      const saturated = own + saturation * ((pixels[at + c] as number) - own);
      const value = mean + contrast * (brightness * saturated - mean);
      pixels[at + c] = Math.min(Math.max(Math.round(value), 0), 255);
    }
  }
}
