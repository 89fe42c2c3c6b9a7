import type { Site } from "../analysis/site-types.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import { elementCount } from "../onnx/tensor.ts";
import { arcsine, arcsineSlope } from "./arcsine.ts";
import { cosinesOf } from "./cosines.ts";
import { definePenalty } from "./define.ts";
import type { PenaltyLayer } from "./layer.ts";
import type { PenaltyGraph } from "./penalty.ts";
import { positionsOf } from "./plain-layer.ts";
import { type ResponseLayout, ResponseMatrix, reshapeLike } from "./response-matrix.ts";
import { type Coefficients, coefficients, somOfRows, somOfUnits } from "./som-graph.ts";
import {
  type SomOptions,
  somDefaults,
  somProblem,
  somSource,
  somWeight,
  weightNormalization,
} from "./som-options.ts";
import { somReference } from "./som-reference.ts";
import { batchRows, randomRows, type SomRows } from "./som-rows.ts";
import { penaltyOfGram } from "./weight-penalty.ts";

/**
 * Pushes the responses of a layer's units apart: with ϑᵢⱼ the cosine of tanh(γyᵢ) and tanh(γyⱼ) over the rows,
 *
 *     R = λ1·(mean of ϑᵢⱼ, i≠j)² + λ2·(mean of ϑᵢⱼ², i≠j)
 *
 * or the same with sums. A unit without any response adds 0 to the value and gets the gradient 0.
 * Source: arXiv 2001.01275, as derived in kexue.fm/archives/7169. Its λ1 = 100 and weight 1 cost accuracy on every network
 * that we tried (docs/decisions.md); `som.preset("source")` has them, on the command line `som:preset=source`.
 *
 * @example
 * await inject(model, { penalties: [som({ lambda1: 50 })] });
 */
export const som = definePenalty<SomOptions>({
  name: "som",
  summary: "pushes the responses of a layer's units apart",
  formula: "λ1·(mean ϑᵢⱼ)² + λ2·mean ϑᵢⱼ², i≠j; ϑᵢⱼ the cosine of tanh(γyᵢ) and tanh(γyⱼ) over the rows",
  source:
    "Zhang, Ma, Wu, Wang 2020 (arXiv 2001.01275), as derived in kexue.fm/archives/7169; no published code. Means in place of the source's sums, λ1 = 0 and weight 0.1 in place of its 100 and 1: preset=source",
  defaults: somDefaults,
  weight: somWeight,
  presets: { source: somSource },
  said: ["lambda1", "lambda2", "gamma"],
  choices: {
    ...{ reduction: ["mean", "sum"], rows: ["batch", "random"], scale: ["none", "rms"] },
    ...{ bias: ["keep", "remove"], angles: ["responses", "weights"] },
  },
  about: {
    lambda1: "weight of the squared mean",
    lambda2: "weight of the mean square",
    gamma: "steepness of tanh, which stands for the sign",
    reduction: "over pairs: mean, or sum as printed in the source (breaks training)",
    rows: "batch, or random: random directions instead of the layer's inputs, new ones each epoch",
    directions: "how many, with rows=random",
    maxRows: "largest number of positions used of each sample, 0 for all",
    center: "subtract each unit's mean over the rows",
    scale: "rms: divide by each unit's root mean square, constant in the gradient",
    bias: "remove: subtract the bias",
    angles: "responses, or weights: ϑ = 1 − 2θ/π of the exact angles of the weights",
    seed: "of directions and positions",
  },
  problem: somProblem,
  on: ({ rows, angles }) => (rows === "random" || angles === "weights" ? "weights" : "responses"),
  seeded: ({ rows, maxRows }) => rows === "random" || maxRows > 0,
  // Classes that exclude each other have a mean cosine below 0; only λ1 would push it to 0.
  sparesLoss: ({ lambda1 }) => lambda1 === 0,
  warning: warningOf,
  build: (layer, options) => {
    if (options.angles === "weights") return somOfWeights(layer, options);
    const rows = options.rows === "random" ? randomRows(layer, options) : batchRows(layer, options);
    return somOfResponses(layer.g, rows, options);
  },
  reference: somReference,
});

function warningOf(site: Site, options: SomOptions): string | undefined {
  const units = site.units / site.groups;
  const { directions, maxRows, scale } = options;
  if (options.angles === "weights") return undefined;
  if (options.rows === "random") {
    return `${directions} random directions: orthogonal units keep R near λ2/${directions}, its noise floor`;
  }
  const remarks: string[] = [];
  const positions = positionsOf(site.response.shape ?? [], site);
  const taken = Math.min(maxRows || positions, positions);
  let { rows } = site;
  if (taken < positions) {
    rows = (rows / positions) * taken;
    remarks.push(
      `${taken} of ${positions} positions a sample: the noise floor of R is ${(positions / taken).toPrecision(3)} times as high`,
    );
  }
  if (scale === "rms") {
    remarks.push(
      "scale=rms is constant in the gradient here and in ONNX Runtime's training tools, not in other programs",
    );
  }
  // Cosines, their squares, the mask and the gradients: about five matrices at the same time.
  const gigabytes = (5 * 4 * units ** 2 * site.groups) / 1e9;
  if (!comparesRows(site, site.response, site.rowsFixed, rows) && gigabytes >= 0.5) {
    remarks.push(
      `the cosines of ${units} units take about ${gigabytes.toPrecision(2)} GB in each run: --exclude the layer, or export the model with a batch of at most ${Math.floor(units / 2 / positions) || 1}`,
    );
  }
  if (site.rowsFixed && rows < units)
    remarks.push(`${rows} rows for ${units} units: the penalty cannot reach 0`);
  return remarks.join("; ") || undefined;
}

function somOfResponses(g: Emit, rows: SomRows, options: SomOptions): PenaltyGraph {
  const { layout, y, rowsFixed, inShards } = rows;
  // The Gram matrix of rows would hold products of one shard with another.
  const smaller = !inShards && comparesRows(layout, y, rowsFixed, rows.rows);
  const c = coefficients(options, layout.units / layout.groups, layout.groups);
  const { value, gradient } = (smaller ? fewRows : manyRows)(g, rows, options, c);
  return { value, slopes: rows.slopes((weight) => gradient(weight && g.cast(weight, y.type))) };
}

/**
 * Whether the b×b Gram matrix of the rows is written in place of the k×k one of the units. With more than 16,384 units, whose
 * cosines take over 5 GB, a batch has fewer rows than that, even if the model leaves it open.
 * @param rows - at the probed batch size
 */
export const comparesRows = (
  { units, groups, unitAxis }: ResponseLayout,
  { shape, type }: Value,
  rowsFixed: boolean,
  rows: number,
): boolean =>
  rowsFixed
    ? 2 * rows <= units / groups
    : units > 16_384 && unitAxis + 1 === shape?.length && type !== "double";

interface Built {
  readonly value: Typed;
  /** In the type and shape of the rows' y. */
  readonly gradient: (weight?: Typed) => Typed;
}

/** The form with the k×k Gram matrix, for any batch. */
function manyRows(g: Emit, { y, layout, inShards }: SomRows, options: SomOptions, c: Coefficients): Built {
  const matrix = new ResponseMatrix(layout, y, g);
  const t = tanhOf(g, matrix.value, options);
  const gram = matrix.gram(t);
  const graph = somOfUnits(g, inShards ? g.overShards(gram, "sum") : gram, c);
  return {
    value: graph.value,
    gradient: (weight) => {
      const dK = graph.gradient(2 * options.gamma, weight);
      return matrix.back(throughTanh(g, g.square(t), matrix.times(dK, t)));
    },
  };
}

/** The form with the b×b Gram matrix. */
function fewRows(
  g: Emit,
  { y, layout, rows, rowsFixed }: SomRows,
  options: SomOptions,
  c: Coefficients,
): Built {
  const { moved, back } = rowsFixed
    ? unitsBehindRows(g, y, layout, rows)
    : {
        moved: g.reshapeAs(y, [-1, layout.units], [rows, layout.units]),
        back: (gradient: Typed) => reshapeLike(g, gradient, y),
      };
  const t = tanhOf(g, moved, options);
  const square = g.square(t);
  const graph = somOfRows(g, t, square, c, rowsFixed);
  return {
    value: graph.value,
    gradient: (weight) => back(throughTanh(g, square, graph.gradient(options.gamma, weight))),
  };
}

/** Y as [rows, units], or with channels split by group and groups first, [groups, rows, units/groups]; and the way back. */
function unitsBehindRows(
  g: Emit,
  y: Typed,
  { units, groups, unitAxis }: ResponseLayout,
  rows: number,
): { moved: Typed; back: (gradient: Typed) => Typed } {
  const { shape } = y;
  const channels = groups === 1 ? [units] : [groups, units / groups];
  const split = [...shape.slice(0, unitAxis), ...channels, ...shape.slice(unitAxis + 1)];
  const axes = split.map((_, axis) => axis);
  const last = unitAxis + channels.length - 1;
  const others = axes.filter((axis) => axis < unitAxis || axis > last);
  // Axes of length 1 behind the units need no move.
  const inPlace = groups === 1 && elementCount(shape.slice(unitAxis + 1)) === 1;
  const order = inPlace ? axes : [...axes.slice(unitAxis, last), ...others, last];
  const turned = g.transpose(g.reshape(y, split), order);
  return {
    moved: g.reshape(turned, [...channels.slice(0, -1), rows, units / groups]),
    back: (gradient) => {
      const back = axes.map((axis) => order.indexOf(axis));
      return g.reshape(g.transpose(g.reshape(gradient, turned.shape), back), shape);
    },
  };
}

const tanhOf = (g: Emit, y: Typed, { gamma }: SomOptions): Typed => g.tanh(g.mul(y, gamma));

/** dY = dT∘(1 − T²); dT already includes γ. */
const throughTanh = (g: Emit, square: Typed, dT: Typed): Typed => g.mul(dT, g.sub(1, square));

/**
 * SOM of the exact angles θ between the units' weights: ϑ = 1 − 2θ/π = (2/π)·asin c, with c their cosine. This is the limit of
 * ϑ for sign responses to many random directions.
 */
function somOfWeights(layer: PenaltyLayer, options: SomOptions): PenaltyGraph {
  const { groups, units } = layer.site;
  const c = coefficients(options, units / groups, groups);
  return penaltyOfGram(layer, "units", (g, gram) => {
    const cosines = cosinesOf(g, gram, weightNormalization);
    const { value: cosine } = cosines;
    const mask = g.offDiagonal(units / groups, cosine.type);
    const angles = g.mul(g.mul(arcsine(g, cosine), mask), 2 / Math.PI);
    const inGroup = [-2, -1];
    const total = g.reduceSum(angles, inGroup, true);
    const squares = g.reduceSum(g.square(angles), inGroup, true);
    return {
      value: g.reduceSum(g.add(g.mul(g.square(total), c.mean), g.mul(squares, c.square))),
      // ∂R/∂ϑ = 2·c.mean·s + 2·c.square·ϑ off the diagonal, dϑ/dc = (2/π)/√(1 − c²). Every pair occurs twice.
      pull: () => {
        const toAngles = g.add(g.mul(angles, 4 * c.square), g.mul(total, 4 * c.mean));
        const toCosines = g.mul(g.mul(toAngles, mask), g.mul(arcsineSlope(g, cosine), 2 / Math.PI));
        return cosines.pull(toCosines);
      },
    };
  });
}
