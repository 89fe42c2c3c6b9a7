import type { Site } from "../analysis/site-types.ts";
import { SorthError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import type { Draw } from "./draws.ts";
import { ResponseMatrix } from "./response-matrix.ts";
import { WeightMatrix } from "./weight-matrix.ts";

/** The layer that a penalty is built for, and the writer of operators for its graph. */
export class PenaltyLayer {
  readonly site: Site;
  /** Writes operators, one method each. */
  readonly g: Emit;
  /** Random numbers [rows, numbers]: a constant, or an input that training feeds. */
  readonly draw: (draw: Draw) => Typed;
  readonly #weight: Typed | undefined;

  /** @param weight - a value in place of the layer's weight */
  constructor(site: Site, g: Emit, draw: (draw: Draw) => Typed, weight?: Typed) {
    this.site = site;
    this.g = g;
    this.draw = draw;
    this.#weight = weight;
  }

  /** Y in the layer's own layout, with units on `site.unitAxis`. Includes the bias; before normalization and activation. */
  get response(): Typed {
    return typed(this.site.response);
  }

  /** W as the layer's operator reads it, after any Transpose, Reshape or Cast in the model. */
  get weight(): Typed {
    const weight = this.#weight ?? weightOf(this.site);
    if (!weight) throw new SorthError(`the weight of layer "${this.site.name}" is missing`);
    return typed(weight);
  }

  /** The value added to the product, as the operator reads it: the response is product + factor · value. */
  get added(): { readonly value: Typed; readonly factor: number } | undefined {
    const added = addedTo(this.site);
    return added && { value: typed(added.value), factor: added.factor };
  }

  /** W with one row per unit: [units, fanIn], or [groups, units/groups, fanIn]; float32 or float64. */
  readonly unitVectors = (): Typed => new WeightMatrix(this.site, this.weight, this.g).rows();

  /** Y with one row per unit: [units, rows], or [groups, units/groups, rows]; float32 or float64; any batch. */
  readonly unitResponses = (): Typed =>
    new ResponseMatrix(this.site, numeric(this.g, this.response), this.g).byUnit();
}

/** A value as float32; float64 stays float64. */
export const numeric = (g: Emit, value: Value): Typed =>
  value.type === "double" ? (value as Typed) : g.cast(value, "float");

/** The weight of a layer as its operator reads it. */
export const weightOf = ({ node, weightInput }: Site): Value | undefined =>
  node.inputs[weightInput] ?? undefined;

/** The value added to a layer's product, as the operator (or the Add behind it) reads it, and its factor. */
export function addedTo({ node, op, response }: Site): { value: Value; factor: number } | undefined {
  const { producer } = response;
  if (op === "MatMul" && producer && producer !== node) {
    const other = producer.inputs.find((input) => input && input !== node.outputs[0]);
    return other ? { value: other, factor: 1 } : undefined;
  }
  const third = op === "MatMul" ? undefined : node.inputs[2];
  return third ? { value: third, factor: node.float("beta", 1) } : undefined;
}
