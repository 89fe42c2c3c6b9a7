import type { Site } from "../analysis/site-types.ts";
import { dimAt } from "../graph/shapes.ts";
import { elementCount } from "../onnx/tensor.ts";

/** Rows of numbers. */
export type Matrix = readonly (readonly number[])[];

/** Kernel and geometry of a convolution, spatial axes only. */
export interface PlainConvolution {
  /** Input channels that a unit sees. */
  readonly channels: number;
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
}

/** A layer as plain float64 arrays, for the references of penalties. */
export interface PlainLayer {
  /** Units are compared only within their group of `units / groups`; a penalty is the mean over groups. */
  readonly groups: number;
  /** Y: `[row][unit]`; the positions of a sample are consecutive rows. */
  readonly responses: Matrix;
  /** Y with one row per unit, `[unit][row]`, if the caller has it. */
  readonly byUnit?: Matrix;
  /** W: `[unit][number]`; for a convolution channel by channel, each kernel row by row. */
  readonly weights: Matrix;
  /** The number added to each unit's product; undefined if nothing is added, or not one number per unit. */
  readonly bias: readonly number[] | undefined;
  /** Rows per sample; a subset of rows is chosen from these. */
  readonly positions: number;
  /** Undefined unless the layer is a Conv. */
  readonly convolution: PlainConvolution | undefined;
  /** The adapter whose A the layer is. */
  readonly adapter?: PlainAdapter;
}

/** An adapter as plain float64 arrays: ΔW = scaling · B·A. */
export interface PlainAdapter {
  /** A: `[rank][input]`. */
  readonly down: Matrix;
  /** B: `[unit][rank]`. */
  readonly up: Matrix;
  readonly scaling: number;
  /** The frozen vectors with which it is compared, one a row. */
  readonly frozen: Readonly<Record<string, Matrix>>;
}

/** Value and gradient of a penalty in float64; an absent gradient is zero. */
export interface PenaltyReference {
  readonly value: number;
  readonly gradient: {
    /** `[row][unit]`. */
    readonly responses?: Matrix;
    /** `[unit][number]`. */
    readonly weights?: Matrix;
    /** `[unit]`. */
    readonly bias?: readonly number[];
    /** For an adapter's B: `[unit][rank]`. */
    readonly up?: Matrix;
  };
  /**
   * For a gradient that treats something as constant: the value at another layer, with that something as it is at this layer.
   * The gradient is the derivative of this function.
   */
  readonly held?: (layer: PlainLayer) => number;
  /**
   * How far the value moves with the rounding errors that arise inside the penalty and that rounding its inputs does not show:
   * behind a saturated tanh, a cosine near 0 is a sum of numbers near 1 that cancel, whatever the last bits of the responses.
   */
  readonly resolution?: number;
}

/** Y with one row per unit: `[unit][row]`. */
export const unitsOf = ({ byUnit, responses }: Pick<PlainLayer, "byUnit" | "responses">): Matrix =>
  byUnit ??
  Array.from({ length: responses[0]?.length ?? 0 }, (_, unit) => responses.map((row) => row[unit] ?? 0));

/** The rows of one sample: spatial positions of a convolution, steps of a sequence; 1 for [batch, units]. */
export function positionsOf(shape: readonly number[], { unitAxis }: Pick<Site, "unitAxis">): number {
  const behind = shape.slice(unitAxis + 1);
  return elementCount(behind.length > 0 ? behind : shape.slice(1, unitAxis));
}

/** The places of the units' numbers in a tensor. */
export interface UnitPlaces {
  readonly units: number;
  /** How many numbers a unit has. */
  readonly length: number;
  /** The place of a unit's number. */
  readonly at: (unit: number, index: number) => number;
}

/** The places of a response's numbers, row by row; the positions of a sample are consecutive. */
export function placesOfResponse(
  shape: readonly number[],
  { unitAxis, units }: Pick<Site, "unitAxis" | "units">,
): UnitPlaces {
  const inner = elementCount(shape.slice(unitAxis + 1));
  const outer = elementCount(shape.slice(0, unitAxis));
  const step = units * inner;
  return {
    ...{ units, length: outer * inner },
    at: (unit, row) => Math.floor(row / inner) * step + unit * inner + (row % inner),
  };
}

/**
 * The places of a weight's numbers, as the site's node reads it:
 *
 * - Gemm, MatMul with the weight on the right: columns of op(B) [d, k]; on the left: rows of op(A) [k, d]
 * - Conv: unit m is W[m, …] of [k, channels/groups, …kernel]
 * - ConvTranspose: unit m is W[its group's channels, m, …] of [channels, k/groups, …kernel]
 */
export function placesOfWeight(shape: readonly number[], site: Site): UnitPlaces {
  const { op, units, fanIn, groups } = site;
  if (op === "ConvTranspose") {
    const kernel = elementCount(shape.slice(2));
    const perGroup = units / groups;
    const channels = dimAt(shape, 0) / groups;
    return {
      ...{ units, length: fanIn },
      at: (unit, i) => {
        const channel = Math.floor(unit / perGroup) * channels + Math.floor(i / kernel);
        return (channel * perGroup + (unit % perGroup)) * kernel + (i % kernel);
      },
    };
  }
  return {
    ...{ units, length: fanIn },
    at: unitsFirst(site) ? (unit, i) => unit * fanIn + i : (unit, i) => i * units + unit,
  };
}

/** The index of `[row][unit]` in a response of the given shape. */
export function responsePlaces(shape: readonly number[], site: Pick<Site, "unitAxis" | "units">): number[][] {
  const { units, length, at } = placesOfResponse(shape, site);
  return Array.from({ length }, (_, row) => Array.from({ length: units }, (_, unit) => at(unit, row)));
}

/** The index of `[unit][number]` in a weight; see {@link placesOfWeight}. */
export function weightPlaces(shape: readonly number[], site: Site): number[][] {
  const { units, length, at } = placesOfWeight(shape, site);
  return Array.from({ length: units }, (_, unit) => Array.from({ length }, (_, i) => at(unit, i)));
}

/** Whether units are rows, not columns, of the weight of a Gemm, MatMul or Conv. */
export function unitsFirst({ op, node, weightInput }: Site): boolean {
  if (op === "Conv") return true;
  const transposed = op === "Gemm" && node.flag(weightInput === 1 ? "transB" : "transA");
  return (weightInput === 1) === transposed;
}

/** The numbers at these places. */
export const gathered = (places: readonly (readonly number[])[], data: ArrayLike<number>): number[][] =>
  places.map((row) => row.map((place) => data[place] ?? Number.NaN));

/** Kernel and geometry of a site that is a Conv. @param shape - the weight's */
export function convolutionOf({ op, node }: Site, shape: readonly number[]): PlainConvolution | undefined {
  if (op !== "Conv") return undefined;
  const kernel = shape.slice(2);
  const ones = kernel.map(() => 1);
  return {
    ...{ channels: dimAt(shape, 1), kernel },
    ...{ strides: node.ints("strides") ?? ones, dilations: node.ints("dilations") ?? ones },
  };
}
