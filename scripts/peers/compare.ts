import type { Tensor } from "../../src/onnx/tensor.ts";
import { foldedLike } from "./folded-layer.ts";
import { NumberIndex } from "./number-index.ts";
import type { Kind, Reference } from "./reference.ts";
import { gradientLimit } from "./result.ts";

/** A gradient that the tool computed: the name and the value of the initializer, and the gradient. */
export interface OwnGradient {
  readonly name: string;
  readonly value: Tensor;
  readonly gradient: Tensor;
}

/** Comparison of gradients with PyTorch's. */
export interface Comparison {
  /** Number of PyTorch's parameters on which the loss depends, and how many of them have a gradient of the tool. */
  readonly parameters: number;
  readonly covered: number;
  /** Parameters for which the tool computed no gradient. */
  readonly missing: readonly string[];
  /** Initializers that are not an arrangement of PyTorch's numbers: the exporter folded or computed them. */
  readonly unmatched: readonly OwnGradient[];
  /** Largest max|ours − float64| / max|float64| over the parameters, and the parameter that has it. */
  readonly error: number;
  readonly worst: string;
  /** The parameters whose figure is above the limit, and the largest figure of the others. */
  readonly off: readonly string[];
  readonly otherError: number;
  /** The same figure for PyTorch's own float32 gradients, over the same parameters. */
  readonly pytorchError: number;
  /** Number of parameters whose exact gradient is zero, and the largest number found there, relative to the largest gradient. */
  readonly zeros: number;
  readonly zeroError: number;
}

/**
 * Below this fraction of the largest gradient, a float64 gradient is a rounding error of zero, as for a bias before a
 * BatchNorm with batch statistics. It cannot serve as a divisor, so the float32 figure is compared with the largest gradient.
 */
const roundingOfZero = 1e-10;

/** Sums the tool's gradients for each of PyTorch's parameters and compares them. */
export function compareGradients(
  own: readonly OwnGradient[],
  reference: Reference,
  kind: "eval" | "train",
): Comparison {
  const sums = new Sums(reference);
  const foldedSums = new Map<string, Float64Array>();
  const unmatched: OwnGradient[] = [];
  for (const entry of own) {
    if (sums.add(entry)) continue;
    const layer = kind === "eval" ? foldedLike(entry.value, reference) : undefined;
    if (layer) foldedSums.set(layer.name, layer.fromFile(entry.gradient.data as Float64Array));
    else unmatched.push(entry);
  }
  const wanted = Object.keys(reference.about[kind].parameters);
  const takenOver = new Set([...foldedSums.keys()].flatMap((name) => reference.about.standsFor[name] ?? []));
  // Exporters cut parts that are never read, such as positions after the end of a sequence; their gradient is zero.
  const complete = (name: string) => {
    const exact = reference.gradient(kind, name);
    return sums.reached.get(name)?.every((mark, i) => mark === 1 || exact?.[i] === 0) ?? false;
  };
  const missing = wanted.filter((name) => !complete(name) && !takenOver.has(name));
  const errors = new Errors(reference);
  for (const name of wanted)
    if (complete(name)) errors.add(kind, name, sums.values.get(name) as Float64Array);
  for (const [name, sum] of foldedSums) errors.add("folded", name, sum);
  return {
    parameters: wanted.length,
    covered: wanted.length - missing.length,
    missing,
    unmatched,
    ...errors.figures,
  };
}

/** Gradients of PyTorch's parameters, as sums of gradients of initializers. */
class Sums {
  readonly values = new Map<string, Float64Array>();
  /** 1 for each element that an initializer holds. */
  readonly reached = new Map<string, Uint8Array>();
  readonly #reference: Reference;
  #index: NumberIndex | undefined;

  constructor(reference: Reference) {
    this.#reference = reference;
  }

  /** Adds the gradient of an initializer; returns false if the initializer holds numbers that no parameter has. */
  add({ name, value, gradient }: OwnGradient): boolean {
    const numbers = gradient.data as Float32Array | Float64Array;
    const sameName = name.replace(/^net\./, "");
    const same = this.#reference.values.get(sameName);
    if (same && equalNumbers(same, value)) {
      for (const [i, number] of numbers.entries()) this.#addTo(sameName, i, number);
      return true;
    }
    this.#index ??= new NumberIndex(this.#reference.values);
    const places = this.#index.locate(value);
    for (const [i, place] of (places ?? []).entries()) {
      if (place) this.#addTo(place.name, place.element, numbers[i] as number);
    }
    return places !== undefined;
  }

  #addTo(name: string, element: number, number: number): void {
    const size = this.#reference.values.get(name)?.size ?? 0;
    const sum = this.values.get(name) ?? new Float64Array(size);
    const marks = this.reached.get(name) ?? new Uint8Array(size);
    this.values.set(name, sum);
    this.reached.set(name, marks);
    sum[element] = (sum[element] as number) + number;
    marks[element] = 1;
  }
}

class Errors {
  readonly figures = {
    ...{ error: 0, worst: "", pytorchError: 0, zeros: 0, zeroError: 0, otherError: 0 },
    off: [] as string[],
  };
  readonly #reference: Reference;

  constructor(reference: Reference) {
    this.#reference = reference;
  }

  add(kind: Kind, name: string, found: Float64Array): void {
    const { figures } = this;
    const { scale, parameters } = this.#reference.about[kind];
    const [size = 0, float32Error = 0] = parameters[name] ?? [];
    const exact = this.#reference.gradient(kind, name);
    let distance = 0;
    found.forEach((number, i) => {
      const off = Math.abs(number - (exact?.[i] ?? 0));
      // NaN compares as false, so test for it.
      distance = Number.isNaN(off) ? Number.POSITIVE_INFINITY : Math.max(distance, off);
    });
    if (size < roundingOfZero * scale) {
      figures.zeros++;
      figures.zeroError = Math.max(figures.zeroError, distance / scale);
      return;
    }
    figures.pytorchError = Math.max(figures.pytorchError, float32Error / size);
    if (distance / size > gradientLimit) figures.off.push(name);
    else figures.otherError = Math.max(figures.otherError, distance / size);
    if (distance / size > figures.error) {
      figures.error = distance / size;
      figures.worst = name;
    }
  }
}

function equalNumbers(a: Tensor, b: Tensor): boolean {
  if (a.dims.join() !== b.dims.join()) return false;
  const [x, y] = [a.data as Float32Array, b.data as Float32Array];
  return x.every((number, i) => number === y[i]);
}
