import type { Site } from "../analysis/site-types.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { chosenPositions, placesInStretch, stretch } from "./draws.ts";
import { numeric, type PenaltyLayer } from "./layer.ts";
import type { Slope } from "./penalty.ts";
import { positionsOf } from "./plain-layer.ts";
import { type ResponseLayout, reshapeToResponse } from "./response-matrix.ts";
import { ofShard } from "./scaled.ts";
import { leastMeanSquare, leastVariation, type SomOptions } from "./som-options.ts";
import { WeightMatrix } from "./weight-matrix.ts";

/** The rows over which units are compared, and how a gradient goes from them back to the layer's values. */
export interface SomRows {
  readonly y: Typed;
  readonly layout: ResponseLayout;
  /** Number of rows, for the probed batch size. */
  readonly rows: number;
  readonly rowsFixed: boolean;
  /** Whether each shard of a batch has its own rows. */
  readonly inShards: boolean;
  /** @param gradient - emits ∂R/∂y times the given weight, in y's type and shape */
  readonly slopes: (gradient: (weight?: Typed) => Typed) => readonly Slope[];
}

/** Responses after one step of preparation; `pull` takes their gradient back to the responses before it. */
interface Step {
  readonly y: Typed;
  readonly pull: (gradient: Typed) => Typed;
}

/** Y for random directions: [units, directions], the products of the units with each direction. */
export function randomRows(layer: PenaltyLayer, { directions, seed }: SomOptions): SomRows {
  const { site, g, weight } = layer;
  const units = new WeightMatrix(site, weight, g);
  const rows = units.rows();
  const shape = [directions, site.fanIn] as const;
  const x = g.cast(layer.draw({ distribution: "sphere", shape, seed, anew: "epoch" }), rows.type);
  const y =
    site.groups === 1
      ? g.gemm(rows, x, { transB: true })
      : g.reshape(g.matMul(rows, g.transpose(x)), [site.units, directions]);
  return {
    y,
    layout: { units: site.units, groups: site.groups, unitAxis: 0 },
    ...{ rows: directions, rowsFixed: true, inShards: false },
    slopes: (gradient) => [
      {
        of: weight,
        gradient: (factor) => {
          const dY = g.reshape(gradient(factor), [...rows.shape.slice(0, -1), directions]);
          return units.fromRows(g.matMul(dY, x));
        },
      },
    ],
  };
}

/** The layer's own responses, prepared by the options: all or some rows, with or without bias and mean, scaled or not. */
export function batchRows(layer: PenaltyLayer, options: SomOptions): SomRows {
  const { site, g, response } = layer;
  const added = options.bias === "remove" ? layer.added : undefined;
  const whole = numeric(g, response);
  const plain = added ? g.sub(whole, biasOf(layer, whole)) : whole;
  const { step: subset, layout, rows } = someRows(layer, plain, options);
  const wanted = options.center || options.scale === "rms";
  const before = wanted ? meanSquareOf(g, subset.y, layout) : undefined;
  const centered = options.center && before ? withoutMean(g, subset.y, layout, before) : unchanged(subset.y);
  const scaled =
    options.scale === "rms" && before ? overRms(g, centered.y, layout, before) : unchanged(centered.y);
  const back = (gradient: Typed): Typed =>
    g.cast(subset.pull(centered.pull(scaled.pull(gradient))), response.type);
  return {
    ...{ y: scaled.y, layout, rows, rowsFixed: site.rowsFixed, inShards: g.shards > 1 },
    slopes: (gradient) => [
      { of: response, gradient: (weight) => back(gradient(ofShard(g, weight))) },
      // The bias is subtracted from the response, so its gradient is subtracted too.
      ...(added
        ? [
            {
              of: added.value,
              gradient: (weight: Typed | undefined) => {
                const dY = g.cast(back(gradient(ofShard(g, weight))), whole.type);
                const sum = sumToBias(layer, g.mul(dY, -added.factor));
                return g.cast(sum, added.value.type);
              },
            },
          ]
        : []),
    ],
  };
}

const unchanged = (y: Typed): Step => ({ y, pull: (gradient) => gradient });

/** The shape of one number for each unit, which broadcasts to the response's. */
const alongUnits = ({ unitAxis, units }: Site, { shape }: Typed): number[] =>
  shape.map((_, axis) => (axis === unitAxis ? units : 1));

/** The value added to the product, in a shape that broadcasts to the response's. */
function biasOf({ site, g, added }: PenaltyLayer, y: Typed): Typed {
  if (!added) return y;
  const value = numeric(g, added.value);
  const isConvolution = site.op === "Conv" || site.op === "ConvTranspose";
  const placed = isConvolution ? g.reshape(value, alongUnits(site, y)) : value;
  const bias = g.cast(placed, y.type);
  return added.factor === 1 ? bias : g.mul(bias, added.factor);
}

/** Sums a gradient of the response to the shape of the added value. The emitted nodes contain no batch size. */
function sumToBias({ site, g, added, response }: PenaltyLayer, gradient: Typed): Typed {
  const shape = added?.value.shape ?? [];
  const rank = response.shape.length;
  const isConvolution = site.op === "Conv" || site.op === "ConvTranspose";
  const placed = isConvolution ? alongUnits(site, response) : shape;
  const lead = rank - placed.length;
  const axes = response.shape.flatMap((_, axis) => (axis < lead || placed[axis - lead] === 1 ? [axis] : []));
  return g.reshape(g.reduceSum(gradient, axes, true), shape);
}

/** The chosen positions of every sample. */
function someRows(
  { site, g }: PenaltyLayer,
  y: Typed,
  { maxRows, seed }: SomOptions,
): { step: Step; layout: ResponseLayout; rows: number } {
  const { unitAxis, units, groups, rows, freeAxes } = site;
  const layout = { units, groups, unitAxis, freeAxes };
  const count = positionsOf(y.shape, site);
  const one = count === 1 && freeAxes.every((axis) => axis === 0);
  if (maxRows === 0 || one || (site.rowsFixed && count <= maxRows)) {
    return { step: unchanged(y), layout, rows };
  }
  const unitsLast = unitAxis === y.shape.length - 1;
  // Merge positions into one axis: [N, L, k], or [N…, k, L].
  const axis = unitsLast ? 1 : unitAxis + 1;
  const merged = unitsLast ? [y.shape[0] ?? 1, count, units] : [...y.shape.slice(0, axis), count];
  const code = unitsLast ? [0, -1, units] : [...merged.slice(0, unitAxis).map(() => 0), units, -1];
  const fixedRank = y.shape.length === merged.length;
  const flat = fixedRank ? y : g.reshapeAs(y, code, merged);
  const most = Math.min(count, maxRows);
  const { indices, inverse, positions } = site.rowsFixed
    ? constantChoice(g, count, maxRows, seed)
    : runtimeChoice(g, { flat, axis, count, maxRows, seed });
  const chosen = g.gather(flat, indices, axis);
  // One length for all stretches, and no other length at run time.
  const even = positions !== undefined && count % most === 0 && g.options.openShapes !== true;
  const pull = (gradient: Typed): Typed => {
    if (even && !unitsLast) return g.reshape(inStretches(g, gradient, positions, count / most), y.shape);
    // Positions that were not chosen read an added last column of zeros.
    const pads = merged.map(() => 0);
    const padded = g.pad(gradient, [...pads, ...pads.map((_, i) => (i === axis ? 1 : 0))]);
    const whole = g.gather(padded, inverse(), axis);
    return fixedRank ? whole : reshapeToResponse(g, whole, y, layout);
  };
  const position = unitsLast ? { ...layout, unitAxis: 2 } : layout;
  return { step: { y: chosen, pull }, layout: position, rows: (rows / count) * most };
}

/**
 * The gradient of chosen positions, [..., rows] → [..., rows, length], with zeros at the others of each stretch. A Gather along
 * the last axis copies number by number: [16, 128, 65] → 1,024 positions takes 5.3 ms, this 1.2.
 */
function inStretches(g: Emit, gradient: Typed, positions: readonly number[], length: number): Typed {
  const places = positions.flatMap((position, i) =>
    Array.from({ length }, (_, place) => (position === i * length + place ? 1 : 0)),
  );
  const column = g.reshape(gradient, [...gradient.shape, 1]);
  return g.mul(column, g.numbers(places, [positions.length, length], gradient.type));
}

interface Choice {
  /** Positions that are read. */
  readonly indices: Typed;
  /** The same as numbers, where they are known. */
  readonly positions?: readonly number[];
  /** For each position its index among the read ones, or their count if it is not read; built when called. */
  readonly inverse: () => Typed;
}

function constantChoice(g: Emit, count: number, maxRows: number, seed: number): Choice {
  const chosen = chosenPositions(count, maxRows, seed);
  const place = new Map(chosen.map((position, i) => [position, i]));
  return {
    indices: g.int64s(chosen),
    positions: chosen,
    inverse: () => g.int64s(Array.from({ length: count }, (_, i) => place.get(i) ?? chosen.length)),
  };
}

/** The same choice if the number of positions is known only when the model runs. */
function runtimeChoice(
  g: Emit,
  of: { flat: Typed; axis: number; count: number; maxRows: number; seed: number },
): Choice {
  const { flat, axis, count, maxRows, seed } = of;
  const most = Math.min(count, maxRows);
  const int64 = { type: "int64" } as const;
  const shape = g.op("Shape", [flat], [flat.shape.length], int64);
  const length = g.gather(shape, g.scalar(axis, "int64"));
  const limit = g.scalar(maxRows, "int64");
  const all = g.less(limit, length);
  const used = g.where(all, limit, length);
  const range = (end: Typed, size: number) =>
    g.op("Range", [g.scalar(0, "int64"), end, g.scalar(1, "int64")], [size], int64);
  // If all are read, each stretch has a single position, and any place in it is that position.
  const ends = g.reshape(used, [1]);
  const places = g.op(
    "Slice",
    [g.int64s(placesInStretch(maxRows, seed)), g.int64s([0]), ends],
    [most],
    int64,
  );
  const stretches = range(used, most);
  const bound = (i: Typed) => g.div(g.mul(i, length), used);
  const start = bound(stretches);
  const stretchLength = g.sub(bound(g.add(stretches, 1)), start);
  const indices = g.add(start, g.div(g.mul(places, stretchLength), stretch));
  return {
    indices,
    inverse: () => {
      const none = g.op("Expand", [used, g.reshape(length, [1])], [count], int64);
      return g.op("ScatterElements", [none, indices, stretches], [count], int64);
    },
  };
}

/** Axes of rows in a response. */
const rowAxes = (y: Typed, { unitAxis }: ResponseLayout): number[] =>
  y.shape.flatMap((_, axis) => (axis === unitAxis ? [] : [axis]));

/** The mean square of each unit's responses: one number per unit, in y's rank. */
const meanSquareOf = (g: Emit, y: Typed, layout: ResponseLayout): Typed =>
  g.overShards(g.reduceMean(g.square(y), rowAxes(y, layout), true), "mean");

/**
 * y − mean over rows; the mean is subtracted from the gradient too. A unit with only rounding errors left gets zeros.
 * @param before - mean squares of y
 */
function withoutMean(g: Emit, y: Typed, layout: ResponseLayout, before: Typed): Step {
  const axes = rowAxes(y, layout);
  const centered = (x: Typed): Typed => g.sub(x, g.overShards(g.reduceMean(x, axes, true), "mean"));
  const rest = centered(y);
  const varies = g.greater(meanSquareOf(g, rest, layout), g.mul(before, leastVariation));
  const alive = g.indicator(varies, y.type);
  return { y: g.mul(rest, alive), pull: (gradient) => centered(g.mul(gradient, alive)) };
}

/**
 * y/√(mean y² + ε), with ε relative to the mean square before centring. The root is constant in the gradient. It is written
 * as a power with a computed exponent, which ONNX Runtime's training tools do not differentiate either.
 */
function overRms(g: Emit, y: Typed, layout: ResponseLayout, before: Typed): Step {
  const least = g.add(g.mul(before, leastVariation), leastMeanSquare);
  const square = g.add(meanSquareOf(g, y, layout), least);
  const inverse = g.pow(Math.E, g.mul(g.log(square), -0.5));
  return { y: g.mul(y, inverse), pull: (gradient) => g.mul(gradient, inverse) };
}
