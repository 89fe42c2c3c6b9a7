import type { Site } from "../analysis/site-types.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { dimAt, type Shape } from "../graph/shapes.ts";
import { elementCount } from "../onnx/tensor.ts";
import { unitsFirst } from "./plain-layer.ts";

/** The vectors whose products are taken: the units' [k, k], or the inputs' [d, d]. */
export type GramSide = "units" | "inputs";

/**
 * A layer's weight as a matrix of its units: [units, fanIn] or [fanIn, units] to avoid a transposition, or with
 * groups [groups, units/groups, fanIn].
 */
export class WeightMatrix {
  /** Units in each group. */
  readonly units: number;
  readonly fanIn: number;
  readonly groups: number;
  readonly #g: Emit;
  readonly #weight: Typed;
  readonly #matrix: Typed;
  readonly #unitsFirst: boolean;
  /** The shape of a ConvTranspose's weight before it is transposed: [groups, channels/groups, units/groups, kernel]. */
  readonly #split: Shape | undefined;

  /** @param weight - as the site's node reads it, in any float type */
  constructor(site: Site, weight: Typed, g: Emit) {
    this.#g = g;
    this.#weight = weight;
    this.groups = site.groups;
    this.units = site.units / site.groups;
    this.fanIn = site.fanIn;
    const w = weight.type === "double" ? weight : g.cast(weight, "float");
    const rows = site.groups === 1 ? [this.units, this.fanIn] : [site.groups, this.units, this.fanIn];
    if (site.op === "ConvTranspose") {
      const channels = dimAt(weight.shape, 0) / site.groups;
      this.#split = [site.groups, channels, this.units, elementCount(weight.shape.slice(2))];
      this.#matrix = g.reshape(g.transpose(g.reshape(w, this.#split), exchanged), rows);
      this.#unitsFirst = true;
    } else {
      this.#unitsFirst = unitsFirst(site);
      this.#matrix = g.reshape(w, this.#unitsFirst ? rows : [this.fanIn, this.units]);
    }
  }

  /** One row per unit: [units, fanIn], or [groups, units/groups, fanIn]. */
  rows(): Typed {
    return this.#unitsFirst ? this.#matrix : this.#g.transpose(this.#matrix);
  }

  /** The symmetric products of the vectors of one side: [n, n] or [groups, n, n]. */
  gram(side: GramSide): Typed {
    const g = this.#g;
    const m = this.#matrix;
    const first = this.#isFirst(side);
    if (this.groups === 1) return g.gemm(m, m, first ? { transB: true } : { transA: true });
    const turned = g.transposeLast(m);
    return first ? g.matMul(m, turned) : g.matMul(turned, m);
  }

  /**
   * The weight's gradient, in its own type and shape, from a symmetric P with ∂R/∂V = P·V, where each row of V is a vector of
   * that side; P is twice ∂R/∂gram.
   */
  fromPull(pull: Typed, side: GramSide): Typed {
    const g = this.#g;
    const m = this.#matrix;
    return this.#toWeight(this.#isFirst(side) ? g.matMul(pull, m) : g.matMul(m, pull));
  }

  /** The weight's gradient from a gradient with respect to {@link rows}. */
  fromRows(gradient: Typed): Typed {
    return this.#toWeight(this.#unitsFirst ? gradient : this.#g.transpose(gradient));
  }

  #isFirst(side: GramSide): boolean {
    return (side === "units") === this.#unitsFirst;
  }

  #toWeight(gradient: Typed): Typed {
    const g = this.#g;
    const { type, shape } = this.#weight;
    if (!this.#split) return g.cast(g.reshape(gradient, shape), type);
    const [groups, channels, units, kernel] = this.#split as [number, number, number, number];
    const turned = g.transpose(g.reshape(gradient, [groups, units, channels, kernel]), exchanged);
    return g.cast(g.reshape(turned, shape), type);
  }
}

const exchanged = [0, 2, 1, 3];
