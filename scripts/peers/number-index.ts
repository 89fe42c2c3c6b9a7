import type { Tensor } from "../../src/onnx/tensor.ts";

/** The place of a number: a tensor and an element of it. */
export interface Place {
  readonly name: string;
  readonly element: number;
}

/**
 * Finds float32 numbers in named tensors by their bits. Exporters transpose, split, join, reorder and rename parameters. The
 * compared networks contain no number twice, so a number identifies its origin.
 */
export class NumberIndex {
  readonly #names: string[] = [];
  readonly #starts: number[] = [];
  /** Pairs (place, bits), sorted by bits. */
  readonly #pairs: Uint32Array;

  constructor(tensors: ReadonlyMap<string, Tensor>) {
    let size = 0;
    for (const [name, tensor] of tensors) {
      this.#names.push(name);
      this.#starts.push(size);
      size += tensor.size;
    }
    const keys = new BigUint64Array(size);
    this.#pairs = new Uint32Array(keys.buffer);
    let place = 0;
    for (const tensor of tensors.values()) {
      for (const bits of bitsOf(tensor)) {
        this.#pairs[2 * place] = place;
        this.#pairs[2 * place + 1] = bits;
        place++;
      }
    }
    // Little-endian: the bits are the upper half of each key.
    keys.sort();
  }

  /**
   * The place of each element of a tensor, null for padding (a zero without a place). Undefined if another element has no
   * place, and for a tensor that consists of zeros only, which is no parameter.
   */
  locate(tensor: Tensor): (Place | null)[] | undefined {
    const places: (Place | null)[] = [];
    let numbers = 0;
    for (const bits of bitsOf(tensor)) {
      const place = this.#find(bits);
      if (place === undefined && bits !== 0) return undefined;
      if (bits !== 0) numbers++;
      places.push(place === undefined ? null : this.#describe(place));
    }
    return numbers > 0 ? places : undefined;
  }

  #find(bits: number): number | undefined {
    const pairs = this.#pairs;
    let [low, high] = [0, pairs.length / 2];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((pairs[2 * middle + 1] as number) < bits) low = middle + 1;
      else high = middle;
    }
    return pairs[2 * low + 1] === bits ? pairs[2 * low] : undefined;
  }

  #describe(place: number): Place {
    let [low, high] = [0, this.#starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#starts[middle] as number) <= place) low = middle;
      else high = middle - 1;
    }
    return { name: this.#names[low] as string, element: place - (this.#starts[low] as number) };
  }
}

function bitsOf(tensor: Tensor): Uint32Array {
  const { buffer, byteOffset, length } = tensor.data as Float32Array;
  return new Uint32Array(buffer, byteOffset, length);
}
