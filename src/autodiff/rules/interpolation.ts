import { SorthError } from "../../errors.ts";
import { checkStored } from "../../graph/stored-lists.ts";

/** How Resize reads one axis: `from` elements become `to`. */
export interface AxisResize {
  readonly from: number;
  readonly to: number;
  /** Output elements per input element, as given by the node; approximately `to / from`. */
  readonly scale: number;
  /** Part of the axis that is resized, as fractions of its length (tf_crop_and_resize only). */
  readonly roi: readonly [start: number, end: number];
}

/** Attributes of Resize that determine how output elements are computed from input elements. */
export interface Interpolation {
  readonly mode: string;
  readonly coordinates: string;
  readonly nearestMode: string;
  readonly cubicCoefficient: number;
  readonly excludeOutside: boolean;
  readonly antialias: boolean;
}

/** One output element along an axis: its input elements (each at most once) and their weights. */
export type Taps = readonly (readonly [element: number, weight: number])[];

// ONNX Runtime computes coordinates in float32; every bit matters where it rounds them to the nearest pixel.
const float = Math.fround;

const clamp = (value: number, low: number, high: number) => Math.min(Math.max(value, low), high);

/** Position of an output element in the input, in elements. */
function coordinate(index: number, axis: AxisResize, transformation: string): number {
  const { from, to, roi } = axis;
  const scale = float(axis.scale);
  const halfPixel = float(float((index + 0.5) / scale) - 0.5);
  switch (transformation) {
    case "half_pixel":
      return halfPixel;
    case "pytorch_half_pixel":
      return to > 1 ? halfPixel : 0;
    case "half_pixel_symmetric": {
      const adjustment = float(to / float(scale * from));
      const offset = float((from / 2) * float(1 - adjustment));
      return float(offset + (index + 0.5) / scale - 0.5);
    }
    case "asymmetric":
      return float(index / scale);
    case "tf_half_pixel_for_nn":
      return float((index + 0.5) / scale);
    case "align_corners":
      return to === 1 ? 0 : float(float(index * (from - 1)) / (to - 1));
    case "tf_crop_and_resize": {
      const [start, end] = [float(roi[0]), float(roi[1])];
      if (to === 1) return float(0.5 * float(start + end) * (from - 1));
      const along = float(float(float(index * float(end - start)) * (from - 1)) / (to - 1));
      return float(float(start * (from - 1)) + along);
    }
    default:
      throw new SorthError(`coordinate_transformation_mode "${transformation}" is not known`);
  }
}

/** The nearest element. A tolerance decides whether a position is a half, as in ONNX Runtime 1.30. */
function nearestElement(position: number, mode: string): number {
  const half = Math.abs(position - Math.floor(position) - 0.5) < 1e-6;
  switch (mode) {
    case "round_prefer_floor":
      return half ? Math.floor(position) : Math.round(position);
    case "round_prefer_ceil":
      return half ? Math.ceil(position) : Math.round(position);
    case "floor":
      return Math.floor(position);
    case "ceil":
      return Math.ceil(position);
    default:
      throw new SorthError(`nearest_mode "${mode}" is not known`);
  }
}

/** Keys' cubic kernel; its support is [−2, 2]. */
function cubic(distance: number, a: number): number {
  const x = Math.abs(distance);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((x - 5) * x + 8) * a * x - 4 * a : 0;
}

const linear = (distance: number) => Math.max(0, 1 - Math.abs(distance));

/** Taps of weights whose elements may lie outside the axis: these are clamped to the first or last element, or dropped. */
function tapsOf(weights: readonly [number, number][], from: number, excludeOutside: boolean): Taps {
  const inside = new Map<number, number>();
  let total = 0;
  for (const [element, weight] of weights) {
    const at = clamp(element, 0, from - 1);
    if (excludeOutside && at !== element) continue;
    inside.set(at, (inside.get(at) ?? 0) + weight);
    total += weight;
  }
  return [...inside].map(([element, weight]) => [element, total === 0 ? weight : weight / total]);
}

/** Elements `first` … `first + count − 1` with their weights. */
const weighted = (first: number, count: number, weight: (element: number) => number): [number, number][] =>
  Array.from({ length: count }, (_, i) => [first + i, weight(first + i)]);

function tapsAt(position: number, { from, scale }: AxisResize, method: Interpolation): Taps {
  const { mode, excludeOutside } = method;
  if (mode === "nearest") return [[clamp(nearestElement(position, method.nearestMode), 0, from - 1), 1]];
  const kernel = mode === "cubic" ? (x: number) => cubic(x, method.cubicCoefficient) : linear;
  const radius = mode === "cubic" ? 2 : 1;
  if (!method.antialias) {
    const at = mode === "cubic" ? position : clamp(position, 0, from - 1);
    const first = Math.floor(at) - radius + 1;
    return tapsOf(
      weighted(first, 2 * radius, (element) => kernel(at - element)),
      from,
      excludeOutside,
    );
  }
  // Shrinking widens the kernel by the scale, so that every input element contributes.
  const stretch = Math.max(1, float(1 / float(scale)));
  const [center, support] = [float(position + 0.5), float(radius * stretch)];
  const first = Math.floor(float(float(center - support) + 0.5));
  const end = Math.floor(float(float(center + support) + 0.5));
  if (end <= 0 || first >= from) return [];
  return tapsOf(
    weighted(first, end - first, (element) => kernel((element - center + 0.5) / stretch)),
    from,
    excludeOutside,
  );
}

/**
 * The input elements and weights of each output element along a resized axis, as ONNX Runtime computes them. Output
 * elements that `extrapolation_value` fills (tf_crop_and_resize beyond the input) have none.
 */
export function interpolationTaps(axis: AxisResize, method: Interpolation): Taps[] {
  const { from, to, scale } = axis;
  // Each element lists its inputs with their weights: pairs of numbers, which take more memory than numbers.
  checkStored(to * (method.antialias ? Math.max(1, Math.ceil(from / to)) : 1), 8);
  const unscaled = float(scale) === 1 || (method.antialias && from === to);
  return Array.from({ length: to }, (_, index) => {
    if (unscaled) return [[index, 1]];
    const position = coordinate(index, axis, method.coordinates);
    const beyond = position < 0 || position > from - 1;
    return method.coordinates === "tf_crop_and_resize" && beyond ? [] : tapsAt(position, axis, method);
  });
}
