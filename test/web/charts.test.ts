import { describe, expect, it } from "vitest";
import { halfRange } from "../../web/charts/histogram.ts";
import { rangeOf } from "../../web/charts/line-chart.ts";
import { cosinePixels, filterGrid, filterPixels } from "../../web/charts/pixels.ts";
import { divergingColour, divergingScale, type Rgb } from "../../web/charts/theme.ts";
import { cosineText } from "../../web/run/pictures.ts";

const scale = divergingScale(false);
const pixel = ({ data, width }: { data: Uint8ClampedArray; width: number }, x: number, y: number) => [
  ...data.subarray(4 * (y * width + x), 4 * (y * width + x) + 4),
];

/** Contrast of two colours, WCAG 2.2. */
function contrast(a: Rgb, b: Rgb): number {
  const light = (colour: Rgb) => {
    const [red = 0, green = 0, blue = 0] = colour.map((byte) => {
      const c = byte / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const [low = 0, high = 0] = [light(a), light(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

describe("colours", () => {
  it.each([false, true])("ends of the scale stand out from its middle (dark: %s)", (dark) => {
    const { negative, zero, positive } = divergingScale(dark);
    expect(contrast(negative, zero)).toBeGreaterThan(4.5);
    expect(contrast(positive, zero)).toBeGreaterThan(4.5);
  });

  it("numbers are mixed between the middle and their end", () => {
    expect(divergingColour(0, scale)).toEqual(scale.zero);
    expect(divergingColour(-1, scale)).toEqual(scale.negative);
    expect(divergingColour(7, scale)).toEqual(scale.positive);
    const half = divergingColour(0.5, scale);
    half.forEach((byte, i) => {
      expect(byte).toBe(Math.round(((scale.zero[i] ?? 0) + (scale.positive[i] ?? 0)) / 2));
    });
  });
});

describe("pictures", () => {
  it("cosines: one pixel for two units", () => {
    const values = Float32Array.of(1, -1, 0, 1);
    const pixels = cosinePixels({ layer: "a", size: 2, units: 2, values }, scale);
    expect([pixels.width, pixels.height]).toEqual([2, 2]);
    expect(pixel(pixels, 1, 0)).toEqual([...scale.negative, 255]);
    expect(pixel(pixels, 0, 1)).toEqual([...scale.zero, 255]);
  });

  it("cosines in words", () => {
    const values = Float32Array.of(1, 0.5, -0.25, 0.5, 1, 0, -0.25, 0, 1);
    expect(cosineText({ layer: "a", size: 3, units: 3, values })).toBe(
      "mean |ϑ| 0.250; largest 0.50, units 0 and 1",
    );
    expect(cosineText({ layer: "a", size: 3, units: 9, values })).toMatch(/^first 3 of 9 units: mean/);
    expect(cosineText({ layer: "a", size: 1, units: 1, values: Float32Array.of(1) })).toBe("one unit");
  });

  it("filters: each relative to its own largest weight, a gap between them", () => {
    const filters = { layer: "a", units: 2, channels: 1 as const, height: 2, width: 2 };
    const values = Float32Array.of(0, 2, -1, 0, 0, -0.1, 0, 0);
    expect(filterGrid({ ...filters, values })).toEqual({ columns: 1, rows: 2 });
    const pixels = filterPixels({ ...filters, values }, scale);
    expect([pixels.width, pixels.height]).toEqual([2, 5]);
    expect(pixel(pixels, 1, 0)).toEqual([...scale.positive, 255]);
    expect(pixel(pixels, 0, 1)).toEqual([...divergingColour(-0.5, scale), 255]);
    expect(pixel(pixels, 0, 2)).toEqual([0, 0, 0, 0]);
    expect(pixel(pixels, 1, 3)).toEqual([...scale.negative, 255]);
  });

  it("filters of three channels are colours", () => {
    const values = Float32Array.of(1, -1, 0);
    const pixels = filterPixels({ layer: "a", units: 1, channels: 3, height: 1, width: 1, values }, scale);
    expect(pixel(pixels, 0, 0)).toEqual([255, 0, 128, 255]);
  });

  it("a grid is about as wide as high", () => {
    const filters = { layer: "a", channels: 1 as const, values: new Float32Array() };
    expect(filterGrid({ ...filters, units: 128, height: 28, width: 28 })).toEqual({ columns: 11, rows: 12 });
    expect(filterGrid({ ...filters, units: 5, height: 2, width: 40 })).toEqual({ columns: 1, rows: 5 });
  });
});

describe("ranges", () => {
  it("hold every angle, at least 14° on both sides of 90°", () => {
    const histogram = (...bins: number[]) => Array.from({ length: 90 }, (_, bin) => +bins.includes(bin));
    expect(halfRange([histogram(44, 46)])).toBe(14);
    expect(halfRange([histogram(45), histogram(30)])).toBe(30);
    expect(halfRange([histogram(89)])).toBe(90);
    expect(halfRange([])).toBe(14);
  });

  it("of numbers are never empty", () => {
    expect(rangeOf([3, 1, 2])).toEqual([1, 3]);
    expect(rangeOf([5])).toEqual([4.5, 5.5]);
    expect(rangeOf([0, 0])).toEqual([-1, 1]);
    expect(rangeOf([])).toEqual([0, 1]);
  });
});
