import type { Site } from "../analysis/site-types.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { isFloat } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import { definePenalty } from "./define.ts";
import type { PenaltyGraph } from "./penalty.ts";
import { coefficients, somOfRows, somOfUnits } from "./som-graph.ts";
import type { SomOptions } from "./som-options.ts";
import { somReference } from "./som-reference.ts";

/**
 * Pushes the responses of a layer's units apart: with ϑᵢⱼ the cosine of tanh(γyᵢ) and tanh(γyⱼ) over the rows,
 *
 *     R = λ1·(mean of ϑᵢⱼ, i≠j)² + λ2·(mean of ϑᵢⱼ², i≠j)
 *
 * or the same with sums. A unit without any response adds 0 to the value and gets the gradient 0.
 * Source: arXiv 2001.01275, as derived in kexue.fm/archives/7169.
 *
 * @example
 * await inject(model, { penalties: [som({ lambda1: 50 })] });
 */
export const som = definePenalty<SomOptions>({
  name: "som",
  summary: "pushes the responses of a layer's units apart",
  source: "arXiv 2001.01275 (kexue.fm/archives/7169)",
  defaults: { lambda1: 100, lambda2: 1, gamma: 10, reduction: "mean" },
  problem: ({ lambda1, lambda2, gamma, reduction }) => {
    if (lambda1 < 0 || lambda2 < 0) return "lambda1 and lambda2 must not be negative";
    if (gamma <= 0) return `gamma must be above 0, not ${gamma}`;
    if (reduction !== "mean" && reduction !== "sum") return `reduction must be mean or sum, not ${reduction}`;
    return undefined;
  },
  applies: (site) => {
    const { type } = site.response;
    if (!isFloat(type)) return `its response is ${type ?? "of an unknown type"}, not a float`;
    if (site.units < 2) return "one unit has no pairs";
    if (unitsPerGroup(site) < 2) return "depthwise: each unit sees another channel";
    if (site.rowsFixed && site.rows < 2) return "one row has no angles; use a larger batch";
    return true;
  },
  warning: (site) => {
    const units = unitsPerGroup(site);
    if (!site.rowsFixed || site.rows >= units) return undefined;
    return `${site.rows} rows for ${units} units: the penalty cannot reach 0`;
  },
  build: buildSom,
  reference: somReference,
});

const unitsPerGroup = (site: Site): number => site.units / site.groups;

function buildSom(site: Site, response: Typed, g: Emit, options: SomOptions): PenaltyGraph {
  const y = response.type === "double" ? response : g.cast(response, "float");
  const smallerGram = site.rowsFixed && 2 * site.rows <= unitsPerGroup(site);
  const { value, gradient } = (smallerGram ? fewRows : manyRows)(site, y, g, options);
  return {
    value,
    gradient: (weight) => g.cast(gradient(weight && g.cast(weight, y.type)), response.type),
  };
}

/** The form with the k×k Gram matrix: any batch. */
function manyRows(site: Site, y: Typed, g: Emit, options: SomOptions): Required<PenaltyGraph> {
  const { units, groups, unitAxis } = site;
  const c = coefficients(options, unitsPerGroup(site), groups);
  const unitsLast = unitAxis === y.shape.length - 1;
  const t = tanhOf(g, unitsLast ? y : mergeSpatial(g, y, site), options);
  const graph = somOfUnits(g, unitsLast ? gramOfColumns(g, t) : gramOfChannels(g, t, site), c);
  return {
    value: graph.value,
    gradient: (weight) => {
      const dK = graph.gradient(2 * options.gamma, weight);
      const dY = throughTanh(g, t, unitsLast ? g.matMul(t, dK) : g.matMul(dK, t));
      if (unitsLast || (dY.shape.length === y.shape.length && groups === 1)) return dY;
      const code = y.shape.map((dim, axis) => (axis < unitAxis ? 0 : axis === unitAxis ? units : dim));
      code[unitAxis + 1] = -1;
      return g.reshapeAs(dY, code, y.shape);
    },
  };
}

/** The form with the b×b Gram matrix: a fixed number of rows. */
function fewRows(site: Site, y: Typed, g: Emit, options: SomOptions): Required<PenaltyGraph> {
  const { units, groups, unitAxis, rows } = site;
  const c = coefficients(options, unitsPerGroup(site), groups);
  // Y as [b, k], or its channels split and their groups in front: [groups, b, k/groups].
  const { shape } = y;
  const channels = groups === 1 ? [units] : [groups, units / groups];
  const split = [...shape.slice(0, unitAxis), ...channels, ...shape.slice(unitAxis + 1)];
  const axes = split.map((_, axis) => axis);
  const last = unitAxis + channels.length - 1;
  const others = axes.filter((axis) => axis < unitAxis || axis > last);
  const order = [...axes.slice(unitAxis, last), ...others, last];
  const moved = g.transpose(g.reshape(y, split), order);
  const t = tanhOf(g, g.reshape(moved, [...channels.slice(0, -1), rows, units / groups]), options);
  const graph = somOfRows(g, t, c);
  return {
    value: graph.value,
    gradient: (weight) => {
      const dY = g.reshape(throughTanh(g, t, graph.gradient(options.gamma, weight)), moved.shape);
      const back = axes.map((axis) => order.indexOf(axis));
      return g.reshape(g.transpose(dY, back), shape);
    },
  };
}

/** tanh(γY). */
const tanhOf = (g: Emit, y: Typed, { gamma }: SomOptions): Typed => g.tanh(g.mul(y, gamma));

/** dY = dT∘(1 − T²), where γ is in dT already. */
const throughTanh = (g: Emit, t: Typed, dT: Typed): Typed => g.mul(dT, g.sub(1, g.square(t)));

/** Y: [N…, k, H, W] as [N…, k, H·W], or as [N…, groups, k/groups, H·W]; any batch. */
function mergeSpatial(g: Emit, y: Typed, { units, groups, unitAxis }: Site): Typed {
  const { shape } = y;
  if (groups === 1 && unitAxis === shape.length - 2) return y;
  const channels = groups === 1 ? [units] : [groups, units / groups];
  const lead = shape.slice(0, unitAxis);
  const positions = elementCount(shape.slice(unitAxis + 1));
  return g.reshapeAs(y, [...lead.map(() => 0), ...channels, -1], [...lead, ...channels, positions]);
}

/** K of T: […, k]. */
function gramOfColumns(g: Emit, t: Typed): Typed {
  const units = t.shape.at(-1) ?? 0;
  const rows = elementCount(t.shape) / units;
  const flat = t.shape.length === 2 ? t : g.reshapeAs(t, [-1, units], [rows, units]);
  return g.gemm(flat, flat, { transA: true });
}

/** K of T: [N…, k, L] or [N…, groups, k/groups, L]. */
function gramOfChannels(g: Emit, t: Typed, { groups, unitAxis }: Site): Typed {
  const channels = t.shape.slice(unitAxis, -1);
  const samples = elementCount(t.shape.slice(0, unitAxis));
  const units = t.shape.at(-2) ?? 0;
  const positions = t.shape.at(-1) ?? 0;
  const lead = Array.from({ length: unitAxis }, (_, axis) => axis);
  // One product per sample writes N·k² numbers, gathering all rows of a unit first N·k·L.
  if (samples > 1 && positions >= units) return g.reduceSum(g.matMul(t, g.transposeLast(t)), lead);
  const order = [...channels.map((_, i) => unitAxis + i), ...lead, t.shape.length - 1];
  const gathered =
    unitAxis === 0
      ? t
      : g.reshapeAs(g.transpose(t, order), [...channels, -1], [...channels, samples * positions]);
  return groups === 1
    ? g.gemm(gathered, gathered, { transB: true })
    : g.matMul(gathered, g.transposeLast(gathered));
}
