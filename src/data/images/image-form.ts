import type { ImageConversion } from "../conversion.ts";
import type { ImageSize } from "./augment.ts";

/** Size and order of the axes of images. */
export interface ImageForm {
  readonly size: ImageSize;
  /** [channels, height, width] instead of [height, width, channels] or [height, width]. */
  readonly channelsFirst?: boolean;
}

/** The images of a shape: [height, width], or with 1 or 3 channels first or last; undefined for other samples. */
export function imageForm(shape: readonly number[]): ImageForm | undefined {
  const isColour = (dim: number | undefined) => dim === 1 || dim === 3;
  const [a = 0, b = 0, c = 0] = shape;
  if (shape.length === 2) return { size: { height: a, width: b, channels: 1 } };
  if (shape.length !== 3) return undefined;
  if (isColour(a)) return { size: { channels: a, height: b, width: c }, channelsFirst: true };
  return isColour(c) ? { size: { height: a, width: b, channels: c } } : undefined;
}

/**
 * The form in which images fit an input: [1 or 3, height, width] as it is, [height, width, 1 or 3] with channels last,
 * [height, width] as one channel, and [pixels] as a square.
 * @param shape - of one sample of the input
 * @returns undefined for an input that takes no images
 *
 * @example
 * inputForm([784]); // { shape: [1, 28, 28], channelsLast: false }
 */
export function inputForm(shape: readonly number[]): Omit<ImageConversion, "fit"> | undefined {
  const isColour = (dim: number | undefined) => dim === 1 || dim === 3;
  if (shape.length === 3 && isColour(shape[0])) return { shape, channelsLast: false };
  if (shape.length === 3 && isColour(shape[2])) return { shape, channelsLast: true };
  if (shape.length === 2) return { shape: [1, ...shape], channelsLast: false };
  if (shape.length !== 1) return undefined;
  const [pixels = 0] = shape;
  const channels = [1, 3].find((count) => Number.isInteger(Math.sqrt(pixels / count)));
  if (channels === undefined) return undefined;
  const side = Math.sqrt(pixels / channels);
  return { shape: [channels, side, side], channelsLast: false };
}
