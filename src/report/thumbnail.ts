import { type Dataset, mainColumn } from "../data/dataset.ts";
import { imageForm } from "../data/images/image-form.ts";
import { elementCount } from "../onnx/tensor.ts";
import { pngOf } from "./png.ts";

/** Longest side of a thumbnail in pixels. */
const longest = 96;

/** A sample as a small picture, a `data:` address of a PNG; undefined for samples that are no images. */
export async function thumbnail(dataset: Dataset, index: number): Promise<string | undefined> {
  const column = mainColumn(dataset.inputs?.values() ?? []);
  const form = column && imageForm(column.shape);
  if (!column || !form) return undefined;
  const { size, channelsFirst = false } = form;
  const values = new Float32Array(elementCount(column.shape));
  await column.fill([index], values);
  const { least, most } = column.bytes ? { least: 0, most: 255 } : column.range();
  const step = Math.max(1, Math.ceil(Math.max(size.height, size.width) / longest));
  const small = {
    ...{ height: Math.ceil(size.height / step), width: Math.ceil(size.width / step) },
    channels: size.channels,
  };
  const pixels = new Uint8Array(elementCount([small.height, small.width, small.channels]));
  for (let y = 0; y < small.height; y++) {
    for (let x = 0; x < small.width; x++) {
      for (let c = 0; c < small.channels; c++) {
        const place = y * step * size.width + x * step;
        const value = values[
          channelsFirst ? c * size.height * size.width + place : place * size.channels + c
        ] as number;
        const share = most > least ? (value - least) / (most - least) : 0;
        pixels[(y * small.width + x) * small.channels + c] = Math.round(255 * share);
      }
    }
  }
  return `data:image/png;base64,${btoa(String.fromCharCode(...pngOf(pixels, small)))}`;
}
