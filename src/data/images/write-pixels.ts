import { DataError } from "../../errors.ts";
import { isWide } from "../../onnx/tensor-data.ts";
import type { BatchArray } from "../dataset.ts";
import type { ImageSize } from "./augment.ts";

/** Writes the bytes of an image, [height, width, channels], as they are, or channel by channel. */
export function writePixels(
  pixels: Uint8Array,
  { channels, height, width }: ImageSize,
  channelsLast: boolean,
  target: BatchArray,
  to: number,
): void {
  if (isWide(target)) {
    throw new DataError("images cannot be fed to an input of 64-bit integers");
  }
  if (channelsLast || channels === 1) {
    target.set(pixels, to);
    return;
  }
  const area = height * width;
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < area; i++) target[to + c * area + i] = pixels[i * channels + c] as number;
  }
}
