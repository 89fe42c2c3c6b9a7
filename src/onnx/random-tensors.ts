import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import type { RandomGenerator } from "pure-rand/types/RandomGenerator";
import { DataError } from "../errors.ts";
import { randomStream } from "../random.ts";
import type { DataTypeName } from "./data-types.ts";
import { numberToFloat16 } from "./small-types.ts";
import { elementCount, Tensor } from "./tensor.ts";
import { arrayFor, boundTypes } from "./tensor-data.ts";

/** Seeded random numbers: the same purpose and keys give the same numbers (see {@link randomStream}). */
export class Random {
  readonly #generator: RandomGenerator;

  constructor(purpose: string, ...keys: readonly number[]) {
    this.#generator = randomStream(purpose, ...keys);
  }

  /** A standard normal number (Box–Muller). */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - uniformFloat64(this.#generator)));
    return radius * Math.cos(2 * Math.PI * uniformFloat64(this.#generator));
  }

  /** A number in [0, 1). */
  uniform(): number {
    return uniformFloat64(this.#generator);
  }

  /** An integer from 0 to `below` − 1. */
  integer(below: number): number {
    return uniformInt(this.#generator, 0, below - 1);
  }

  /**
   * A tensor of standard normal floats, or of integers from 0 to `below` − 1.
   * @throws SorthError for other types, and for sizes for which there is no memory
   */
  tensor(name: string, type: DataTypeName, dims: readonly number[], below = 2): Tensor {
    const isFloat = type === "float" || type === "double" || type === "float16";
    const [length, next] = [elementCount(dims), () => (isFloat ? this.normal() : this.integer(below))];
    try {
      // The usual type without a list of 8 bytes for each number beside it.
      if (type === "float") return Tensor.of(name, type, dims, Float32Array.from({ length }, next));
      return tensorOf(name, type, dims, Array.from({ length }, next));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new DataError(
        `"${name}" has the sizes [${dims}], which need an array larger than this machine can hold: use smaller ones (--batch, --dim), or export the model with smaller or free dimensions`,
        { cause: error },
      );
    }
  }
}

/** A tensor of the given numbers. @throws SorthError for a type that ONNX Runtime's binding does not accept */
export function tensorOf(
  name: string,
  type: DataTypeName,
  dims: readonly number[],
  numbers: readonly number[],
): Tensor {
  if (!boundTypes.has(type))
    throw new DataError(`cannot make numbers of type ${type} for "${name}"; give its data`);
  const convert = { float16: numberToFloat16, int64: BigInt, uint64: BigInt }[type as string] ?? Number;
  return Tensor.of(name, type, dims, arrayFor(type).from(numbers, convert));
}
