import type { AdapterParts, Site } from "../../analysis/site-types.ts";
import { SorthError } from "../../errors.ts";
import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Value } from "../../graph/node.ts";
import { elementCount, type Tensor } from "../../onnx/tensor.ts";
import { numeric, type PenaltyLayer } from "../layer.ts";
import type { PenaltyOptions } from "../penalty.ts";
import type { Matrix, PlainAdapter, PlainLayer } from "../plain-layer.ts";

/** An adapter's matrices in a graph: ΔW = scaling · B·A. */
interface AdapterMatrices {
  /** A: [rank, inputs]. */
  readonly down: Typed;
  /** B: [units, rank]. */
  readonly up: Typed;
  readonly scaling: number;
  /** A gradient with respect to A as one of its parameter, and likewise for B. */
  readonly toDown: (gradient: Typed) => Typed;
  readonly toUp: (gradient: Typed) => Typed;
}

/** True where a layer is the A of an adapter; else why the penalty does not act there. */
const isAdapter = (site: Site): true | string =>
  site.adapter ? true : "it acts on adapters (train --lora), and this layer has none";

/** Why penalties that read B leave an adapter alone. */
export const ofGroups = "a convolution with groups, whose B reads only a part of A's results for each unit";

/** True where a layer is the A of an adapter whose ΔW is B·A; else why the penalty does not act there. */
export function hasProduct(site: Site): true | string {
  const reason = isAdapter(site);
  const { shape, initializer } = site.adapter?.up ?? {};
  if (reason !== true) return reason;
  return (shape ?? initializer?.dims)?.[1] === site.units ? true : ofGroups;
}

/** The matrices of the adapter whose A a layer is. */
export function matricesOf({ site, g }: PenaltyLayer): AdapterMatrices {
  const { up, scaling } = partsOf(site);
  const down = site.weight;
  const rank = site.units;
  const asMatrix = (value: Value, shape: readonly number[]) => g.reshape(numeric(g, value), shape);
  const back = (value: Value) => (gradient: Typed) =>
    g.cast(g.reshape(gradient, typed(value).shape), typed(value).type);
  return {
    down: asMatrix(down, [rank, site.fanIn]),
    up: asMatrix(up, [elementCount(typed(up).shape) / rank, rank]),
    scaling,
    ...{ toDown: back(down), toUp: back(up) },
  };
}

/** The frozen vectors that a trainer has found for a layer; a text says why there are none. */
function frozenOf(site: Site, options: PenaltyOptions): Readonly<Record<string, Tensor>> | string {
  const found = site.adapter?.frozen.get(options);
  return found ?? "what it compares with is found when a Trainer begins (train)";
}

/** Whether a layer has an adapter, and the frozen vectors that a penalty compares it with. */
export function isComparable(site: Site, options: PenaltyOptions): true | string {
  const reason = isAdapter(site);
  if (reason !== true) return reason;
  const frozen = frozenOf(site, options);
  return typeof frozen === "string" ? frozen : true;
}

/** One of the frozen matrices as a constant of the graph. */
export function frozenMatrix({ site, g }: PenaltyLayer, options: PenaltyOptions, part: string): Typed {
  const frozen = frozenOf(site, options);
  const tensor = typeof frozen === "string" ? undefined : frozen[part];
  if (!tensor) throw new SorthError(`layer "${site.name}" has no vectors to compare its adapter with`);
  const constant = g.tensorConstant(tensor);
  return site.weight.type === "double" ? g.cast(constant, "double") : constant;
}

/** Σ x² over all elements. */
export const sumOfSquares = (g: Emit, x: Typed): Typed => g.reduceSum(g.square(x), undefined, false, true);

function partsOf(site: Site): AdapterParts {
  if (site.adapter) return site.adapter;
  throw new SorthError(`layer "${site.name}" is no adapter`);
}

/** A layer's adapter as plain arrays. */
export function plainAdapter({ adapter }: PlainLayer): PlainAdapter {
  if (adapter) return adapter;
  throw new SorthError("the layer has no adapter");
}

/** The elements of a matrix times a number. */
export const times = (factor: number, a: Matrix): number[][] => a.map((row) => row.map((x) => factor * x));

/** a + b, element by element. */
export const plus = (a: Matrix, b: Matrix): number[][] =>
  a.map((row, i) => row.map((x, j) => x + (b[i]?.[j] ?? 0)));

/** Σ f(x) over all elements. */
export const total = (a: Matrix, f: (x: number) => number): number =>
  a.reduce((sum, row) => row.reduce((s, x) => s + f(x), sum), 0);
