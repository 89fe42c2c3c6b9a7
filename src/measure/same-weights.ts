import type { Site } from "../analysis/site-types.ts";
import type { Attribute } from "../graph/attribute.ts";
import type { Node, Value } from "../graph/node.ts";
import { weightOf } from "../penalties/layer.ts";
import { unitsFirst } from "../penalties/plain-layer.ts";
import { convolutionOf } from "./convolution-spectrum.ts";

/**
 * Tells layers that have the same units, because they read one weight in the same way: a transformer that calls a layer eight
 * times gets its figures from one measurement.
 */
export class SameWeights {
  readonly #numbers = new Map<object, number>();
  readonly #values = new Map<Value, number>();
  readonly #computations = new Map<string, number>();

  /** A text that is the same for two layers only if all their weight angles and spectra are the same. */
  keyOf(site: Site): string {
    const { op, units, fanIn, groups } = site;
    const operand = weightOf(site);
    return JSON.stringify([
      ...[op, units, fanIn, groups, unitsFirst(site)],
      operand ? this.#valueOf(operand) : this.#numberOf(site),
      ...(op === "Conv" || op === "ConvTranspose" ? [geometryOf(site)] : []),
    ]);
  }

  /** The same number for two values that one computation gives from the same values. */
  #valueOf(value: Value): number {
    const known = this.#values.get(value);
    if (known !== undefined) return known;
    const { producer } = value;
    const number = producer ? this.#resultOf(value, producer) : this.#numberOf(value);
    this.#values.set(value, number);
    return number;
  }

  #resultOf(value: Value, producer: Node): number {
    const attributes = [...producer.attributes];
    if (!attributes.every(([, attribute]) => isPlain(attribute))) return this.#numberOf(value);
    const computation = JSON.stringify([
      ...[producer.op, producer.overload, producer.outputs.indexOf(value)],
      attributes.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, { value: own }]) => [name, own]),
      producer.inputs.map((input) => input && this.#valueOf(input)),
    ]);
    const known = this.#computations.get(computation);
    if (known !== undefined) return known;
    const number = this.#numberOf(value);
    this.#computations.set(computation, number);
    return number;
  }

  #numberOf(one: object): number {
    const number = this.#numbers.get(one) ?? this.#numbers.size;
    this.#numbers.set(one, number);
    return number;
  }
}

/** Whether JSON writes an attribute without loss. */
function isPlain({ kind, value }: Attribute): boolean {
  if (kind === "float" || kind === "floats") return [value].flat().every(Number.isFinite);
  return ["int", "ints", "string", "strings"].includes(kind);
}

/** What the spectrum of a convolution depends on besides its kernel. */
function geometryOf(site: Site): unknown {
  if (!site.node.inputs[0]?.shape) return site.body?.holder.label ?? "open";
  const { strides, dilations, inputSize } = convolutionOf(site, [], weightOf(site)?.shape ?? []);
  return [strides, dilations, inputSize];
}
