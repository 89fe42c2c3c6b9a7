import type { CosineMatrix, FilterPictures } from "../protocol.ts";
import { divergingColour, type divergingScale } from "./theme.ts";

type Scale = ReturnType<typeof divergingScale>;

/** Colours of a picture: red, green, blue and opacity, row by row. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray<ArrayBuffer>;
}

function blank(width: number, height: number): Pixels {
  return { width, height, data: new Uint8ClampedArray(4 * width * height) };
}

function paint({ data, width }: Pixels, x: number, y: number, [red, green, blue]: readonly number[]): void {
  data.set([red ?? 0, green ?? 0, blue ?? 0, 255], 4 * (y * width + x));
}

/** Cosines as a heat map: one pixel for every two units. */
export function cosinePixels({ size, values }: CosineMatrix, scale: Scale): Pixels {
  const pixels = blank(size, size);
  values.forEach((value, index) => {
    paint(pixels, index % size, Math.floor(index / size), divergingColour(value, scale));
  });
  return pixels;
}

/** The layout of filters: about as wide as high. */
export function filterGrid({ units, height, width }: FilterPictures): { columns: number; rows: number } {
  const columns = Math.min(units, Math.max(1, Math.round(Math.sqrt((units * (height + 1)) / (width + 1)))));
  return { columns, rows: Math.ceil(units / columns) };
}

/** Filters side by side, each relative to its own largest weight; filters of three channels in colour. */
export function filterPixels(filters: FilterPictures, scale: Scale): Pixels {
  const { units, channels, height, width, values } = filters;
  const { columns, rows } = filterGrid(filters);
  const pixels = blank(columns * (width + 1) - 1, rows * (height + 1) - 1);
  const area = height * width;
  for (let unit = 0; unit < units; unit++) {
    const own = values.subarray(unit * channels * area, (unit + 1) * channels * area);
    const largest = own.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-30);
    const [left, top] = [(unit % columns) * (width + 1), Math.floor(unit / columns) * (height + 1)];
    for (let at = 0; at < area; at++) {
      const of = (channel: number) => (own[channel * area + at] ?? 0) / largest;
      const colour =
        channels === 3
          ? [0, 1, 2].map((c) => Math.round(127.5 * (1 + of(c))))
          : divergingColour(of(0), scale);
      paint(pixels, left + (at % width), top + Math.floor(at / width), colour);
    }
  }
  return pixels;
}
