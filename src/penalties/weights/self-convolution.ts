import type { Site } from "../../analysis/site-types.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { eachCrossProduct } from "../block-products.ts";
import { numeric, type PenaltyLayer } from "../layer.ts";
import { convolutionOf, type Matrix, type PlainConvolution } from "../plain-layer.ts";
import { product, transposed, type ValueAndGradient, withGradient } from "../plain-math.ts";

/** How far a kernel is shifted over itself, per axis: P = ⌊(k − 1)/S⌋·S in steps of S. */
interface Shifts {
  /** S: the strides with which the layer moves the kernel, counted in taps of a dilated kernel. */
  readonly strides: readonly number[];
  readonly pads: readonly number[];
  /** Number of shifts, odd; the middle one is the unshifted kernel. */
  readonly counts: readonly number[];
}

/** The shifts at which a kernel meets itself when a convolution slides it over an image. */
export function shiftsOf({ kernel, strides, dilations }: PlainConvolution): Shifts {
  // A kernel with dilation D meets itself only at multiples of D, which is every S/gcd(S, D)-th tap.
  const own = strides.map((stride, axis) => stride / gcd(stride, dilations[axis] ?? 1));
  const pads = kernel.map((size, axis) => {
    const stride = own[axis] ?? 1;
    return Math.floor((size - 1) / stride) * stride;
  });
  return { strides: own, pads, counts: pads.map((pad, axis) => (2 * pad) / (own[axis] ?? 1) + 1) };
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** The geometry of a site that is a Conv. */
function geometryOf(site: Site, weight: Typed): PlainConvolution {
  const geometry = convolutionOf(site, weight.shape);
  if (!geometry) throw new RangeError(`layer "${site.name}" is no Conv`);
  return geometry;
}

/** Σ (Conv(K, K) − I₀)² for each group: [groups]. */
export function selfConvolutionSquares(layer: PenaltyLayer): Typed {
  const excess = selfConvolution(layer);
  const axes = excess.shape.flatMap((_, axis) => (axis === 1 ? [] : [axis]));
  return layer.g.reduceSum(layer.g.square(excess), axes);
}

/**
 * Conv(K, K) − I₀: the products of all pairs of a layer's kernels at all shifts, minus 1 where a kernel meets itself unshifted.
 * [units/groups, groups, units/groups, …shifts]
 */
function selfConvolution({ site, weight, g }: PenaltyLayer): Typed {
  const geometry = geometryOf(site, weight);
  const { strides, pads, counts } = shiftsOf(geometry);
  const { groups } = site;
  const units = site.units / groups;
  const { channels, kernel } = geometry;
  const k = numeric(g, weight);
  const options = {
    ...{ strides, group: groups, pads: [...pads, ...pads], dilations: kernel.map(() => 1) },
  };
  // Each sample holds one kernel per group, so that kernels meet only those of their own group.
  const split = [groups, units, channels, ...kernel];
  const turned = g.transpose(g.reshape(k, split), [1, 0, ...split.slice(2).map((_, i) => i + 2)]);
  const samples = groups === 1 ? k : g.reshape(turned, [units, groups * channels, ...kernel]);
  const products = g.reshape(g.conv(samples, k, options), [units, groups, units, ...counts]);
  const middle = Math.floor(elementCount(counts) / 2);
  const unshifted = g.numbers(
    Array.from({ length: elementCount(counts) }, (_, i) => (i === middle ? 1 : 0)),
    [1, 1, 1, ...counts],
    k.type,
  );
  const identity = g.reshape(g.identityMatrix(units, k.type), [units, 1, units, ...counts.map(() => 1)]);
  return g.sub(products, g.mul(identity, unshifted));
}

/**
 * Σ (Conv(K, K) − I₀)² of the kernels of one group, and its gradient, in float64, shift by shift. A shift and its opposite
 * give the same products with the two kernels exchanged, so only one of them is computed and counts twice.
 * @param kernels - `[unit][channel and tap]`
 */
export function plainSelfConvolution(kernels: Matrix, geometry: PlainConvolution): ValueAndGradient {
  const shifts = halfOfShifts(geometry).map(({ from, to, times }) => {
    const at = (places: readonly number[]) => kernels.map((unit) => places.map((place) => unit[place] ?? 0));
    return { from, to, times, a: at(from), b: at(to), still: times === 1 };
  });
  let value = 0;
  for (const { a, b, times, still } of shifts) {
    eachCrossProduct(a, b, (product, i, j) => {
      value += times * (product - (still && i === j ? 1 : 0)) ** 2;
    });
  }
  return withGradient(value, () => {
    const gradient = kernels.map((unit) => unit.map(() => 0));
    const add = (places: readonly number[], slopes: Matrix, factor: number) => {
      slopes.forEach((row, unit) => {
        const target = gradient[unit] as number[];
        places.forEach((place, n) => {
          target[place] = (target[place] ?? 0) + factor * (row[n] ?? 0);
        });
      });
    };
    for (const { from, to, times, a, b, still } of shifts) {
      const excess = product(a, transposed(b)).map((row, i) =>
        row.map((entry, j) => entry - (still && i === j ? 1 : 0)),
      );
      add(from, product(excess, b), 2 * times);
      add(to, product(transposed(excess), a), 2 * times);
    }
    return gradient;
  });
}

/** The shifts up to the middle one, with the indices of a unit's numbers that overlap, and how often each shift counts. */
function halfOfShifts(geometry: PlainConvolution): { from: number[]; to: number[]; times: number }[] {
  const { channels, kernel } = geometry;
  const { strides, pads, counts } = shiftsOf(geometry);
  const taps = places(kernel);
  const size = elementCount(kernel);
  const middle = Math.floor(elementCount(counts) / 2);
  return places(counts)
    .slice(0, middle + 1)
    .map((shift, index) => {
      const offset = shift.map((step, axis) => step * (strides[axis] ?? 1) - (pads[axis] ?? 0));
      // Pairs of taps that overlap.
      const meeting = taps.flatMap((tap, to) => {
        const from = tap.map((at, axis) => at + (offset[axis] ?? 0));
        const inside = from.every((at, axis) => at >= 0 && at < (kernel[axis] ?? 0));
        return inside ? [{ from: indexOf(from, kernel), to }] : [];
      });
      const starts = Array.from({ length: channels }, (_, channel) => channel * size);
      return {
        from: starts.flatMap((start) => meeting.map(({ from }) => start + from)),
        to: starts.flatMap((start) => meeting.map(({ to }) => start + to)),
        times: index === middle ? 1 : 2,
      };
    });
}

/** Every index of an array of the given shape, in order. */
const places = (shape: readonly number[]): number[][] =>
  shape.reduce<number[][]>(
    (before, size) => before.flatMap((place) => Array.from({ length: size }, (_, i) => [...place, i])),
    [[]],
  );

const indexOf = (place: readonly number[], shape: readonly number[]): number =>
  place.reduce((index, at, axis) => index * (shape[axis] ?? 1) + at, 0);
