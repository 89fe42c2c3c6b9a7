import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { checkKnown, type OptionNames } from "../../known-options.ts";
import { checkNumber, type NumberRange } from "../../numbers.ts";
import { randomStream } from "../../random.ts";
import type { Column, Dataset, TrainingPass } from "../dataset.ts";

/** Random changes of images while training. */
export interface Augmentation {
  /** Mirror left and right, with probability ½. */
  readonly flip?: boolean;
  /**
   * Shift the image at random. A whole number of 1 or more: by up to that many pixels each way, with black beyond its borders
   * (torchvision's `RandomCrop(size, padding)`). A number below 1: cut a window of the model's size out of an image that is
   * enlarged by this share of its height and width. Default: no shift.
   */
  readonly crop?: number;
  /** Change brightness, contrast and saturation by a factor of up to 1 ± this share; default: no change. */
  readonly color?: number;
}

/** A dataset that says how its images change, for workers that train elsewhere on the images it holds. */
export interface AugmentedDataset extends Dataset {
  readonly augmentation?: Augmentation;
  /** The larger images out of which windows are cut, by the name of their column; absent where they are made of the images themselves. */
  readonly enlarged?: ReadonlyMap<string, Column>;
}

/** The strength of a change that `--augment` names without a number. */
export const augmentationDefaults = { crop: 0.125, color: 0.2 } as const;

export interface ImageSize {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

/** The changes of one image in one pass over the data. */
interface DrawnChange {
  /** The size that the image is enlarged to before a window is cut out of it. */
  readonly enlarged: { readonly height: number; readonly width: number };
  /** Position of the window; below 0 where it begins outside the image. */
  readonly top: number;
  readonly left: number;
  readonly flips: boolean;
  /** Factors of brightness, contrast and saturation. */
  readonly factors: readonly [number, number, number] | undefined;
}

const changeNames = { flip: "flag", crop: true, color: true } as const satisfies OptionNames<Augmentation>;

/** @throws UsageError for an unknown change, and for a strength out of range */
export function checkAugmentation(changes: Augmentation): void {
  checkKnown("an augmentation", changes, changeNames);
  const { crop, color } = changes;
  checkNumber("crop of the augmentation", crop, cropRange);
  checkNumber("color of the augmentation", color, properShareOrOne);
}

/** Pixels, or a share of the image. */
export const cropRange: NumberRange = {
  words: "a whole number of pixels, or a share of the image above 0 and below 1",
  holds: (value) => (value > 0 && value < 1) || (Number.isInteger(value) && value >= 1),
};
/** A share above 0, up to 1. */
export const properShareOrOne: NumberRange = {
  words: "a number above 0, up to 1",
  holds: (value) => value > 0 && value <= 1,
};

/** Draws the changes of a sample: they depend on the run's seed, the pass and the sample only. */
export function drawChange(
  { flip = false, crop = 0, color }: Augmentation,
  { height, width }: ImageSize,
  { seed, epoch }: TrainingPass,
  sample: number,
): DrawnChange {
  const random = randomStream("augment", seed, epoch, sample);
  // Every number is drawn, whatever is used, so that one change does not depend on another.
  const [mirrored, down, across, ...shares] = Array.from({ length: 6 }, () => uniformFloat64(random)) as [
    ...[number, number, number, number, number, number],
  ];
  const padding = crop < 1 ? 0 : crop;
  const enlarged = enlargedSize({ crop }, { height, width });
  const placed = (share: number, room: number) =>
    Math.min(Math.floor(share * (room + 2 * padding + 1)), room + 2 * padding) - padding;
  const factor = (share: number) => 1 + (color ?? 0) * (2 * share - 1);
  const [b, c, s] = shares.map(factor) as [number, number, number];
  return {
    enlarged,
    top: placed(down, enlarged.height - height),
    left: placed(across, enlarged.width - width),
    flips: flip && mirrored < 0.5,
    factors: color === undefined ? undefined : [b, c, s],
  };
}

/** The size out of which a window is cut. */
export function enlargedSize(
  { crop = 0 }: Augmentation,
  { height, width }: Pick<ImageSize, "height" | "width">,
): DrawnChange["enlarged"] {
  const share = crop < 1 ? crop : 0;
  return { height: height + Math.round(height * share), width: width + Math.round(width * share) };
}

/** Arrays of pixels: bytes, or floats that an array of data holds. */
export type Pixels = Uint8Array | Float32Array | Float64Array;

/** How arrays hold pixels. */
export interface PixelForm {
  /** [channels, height, width] instead of [height, width, channels]. */
  readonly channelsFirst?: boolean;
  /** The number beyond the borders of an image; default 0. */
  readonly black?: number;
  /** The number of full brightness: 255 (default), with whole numbers, or 1. */
  readonly white?: 1 | 255;
}

/**
 * Cuts the window out of an image and changes its colours.
 * @param pixels - [enlarged height, enlarged width, channels]
 * @returns [height, width, channels]
 */
export function applyChange<P extends Pixels>(
  pixels: P,
  { enlarged, top, left, flips, factors }: DrawnChange,
  size: ImageSize,
  form: PixelForm = {},
): P {
  const { height, width, channels } = size;
  const result = pixels.slice(0, height * width * channels) as P;
  const place = form.channelsFirst ? 1 : channels;
  const [ofChannel, ofChannelBefore] = form.channelsFirst
    ? [height * width, enlarged.height * enlarged.width]
    : [1, 1];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const y = top + row;
      const x = left + (flips ? width - 1 - column : column);
      const isInside = y >= 0 && y < enlarged.height && x >= 0 && x < enlarged.width;
      const from = (y * enlarged.width + x) * place;
      const to = (row * width + column) * place;
      for (let c = 0; c < channels; c++) {
        result[to + c * ofChannel] = isInside
          ? (pixels[from + c * ofChannelBefore] as number)
          : (form.black ?? 0);
      }
    }
  }
  if (factors) changeColours(result, size, factors, form);
  return result;
}

/** Brightness, contrast around the mean grey, and saturation, in this order; values stay between black and white. */
function changeColours(
  pixels: Pixels,
  { height, width, channels }: ImageSize,
  [brightness, contrast, saturation]: readonly [number, number, number],
  { channelsFirst = false, white = 255 }: PixelForm,
): void {
  const area = height * width;
  const [place, channel] = channelsFirst ? [1, area] : [channels, 1];
  const grey = (at: number) =>
    channels === 3
      ? 0.299 * (pixels[at] as number) +
        0.587 * (pixels[at + channel] as number) +
        0.114 * (pixels[at + 2 * channel] as number)
      : (pixels[at] as number);
  let sum = 0;
  for (let i = 0; i < area; i++) sum += grey(i * place);
  const mean = (brightness * sum) / area;
  for (let i = 0; i < area; i++) {
    const own = grey(i * place);
    for (let c = 0; c < channels; c++) {
      const at = i * place + c * channel;
      const saturated = own + saturation * ((pixels[at] as number) - own);
      const value = mean + contrast * (brightness * saturated - mean);
      pixels[at] = Math.min(Math.max(white === 255 ? Math.round(value) : value, 0), white);
    }
  }
}
