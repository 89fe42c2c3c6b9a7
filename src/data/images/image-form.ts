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
