import { elementCount } from "../onnx/tensor.ts";
import { type Dataset, eachRows, type Filled, isPending, mainColumn } from "./dataset.ts";

/** A small fingerprint of a dataset, stored with a run. */
export interface DataIdentity {
  readonly name: string;
  readonly samples: number;
  /**
   * Checksum of all numbers in the samples, in order, and of their shapes, but not of the name. For a dataset that is decoded
   * as it is read: of its fingerprint instead of the numbers.
   */
  readonly checksum: string;
}

/** Elements per read. */
const chunkElements = 2 ** 18;

/** A checksum under construction. */
export interface Hash {
  add(numbers: Float64Array): void;
  readonly text: string;
}

/** Kinds of checksums that other programs write into the runs that they begin, by the word before the checksum's colon. */
const others = new Map<string, () => Hash>();

/** Makes {@link identityOf} understand checksums of another kind. */
export const learnChecksum = (kind: string, make: () => Hash): void => void others.set(kind, make);

const known = new WeakMap<Dataset, DataIdentity>();

/**
 * The fingerprint of a dataset. Reads all samples, once per dataset, unless the dataset says what identifies them.
 * @param like - a checksum to compare it with: the fingerprint gets one of the same kind
 */
export function identityOf(dataset: Dataset, like = ""): DataIdentity {
  const make = others.get(like.split(":")[0] ?? "");
  if (make) return read(dataset, make());
  const identity = known.get(dataset) ?? read(dataset, new Murmur());
  known.set(dataset, identity);
  return identity;
}

function read(dataset: Dataset, hash: Hash): DataIdentity {
  const { name, size, x, y } = dataset;
  const [perX, perY] = [elementCount(x.shape), elementCount(y.shape)];
  const rows = Math.max(1, Math.min(size, Math.floor(chunkElements / Math.max(1, perX + perY))));
  const [inputs, targets] = [new Float64Array(rows * perX), new Float64Array(rows * perY)];
  hash.add(Float64Array.of(size, ...x.shape, -1, ...y.shape, -1, x.type.length, y.type.length));
  const identifiedBy = (text: string): DataIdentity => {
    hash.add(Float64Array.from(text, (character) => character.codePointAt(0) ?? 0));
    return { name, samples: size, checksum: hash.text };
  };
  if (dataset.fingerprint !== undefined) return identifiedBy(dataset.fingerprint);
  const isLate = (filled: Filled): boolean => {
    if (isPending(filled)) filled.catch(() => {});
    return isPending(filled);
  };
  // Mostly the first sample already shows that the dataset answers with promises: then no other sample is read here.
  if (isLate(dataset.fill([0], inputs, targets))) return identifiedBy(name);
  for (let start = 0; start < size; start += rows) {
    const count = Math.min(rows, size - start);
    const indices = Uint32Array.from({ length: count }, (_, i) => start + i);
    if (isLate(dataset.fill(indices, inputs, targets))) return identifiedBy(name);
    hash.add(inputs.subarray(0, count * perX));
    hash.add(targets.subarray(0, count * perY));
  }
  // Further arrays, for models with several inputs.
  const main = mainColumn(dataset.inputs?.values() ?? []);
  for (const column of dataset.inputs?.values() ?? []) {
    if (column === main) continue;
    hash.add(Float64Array.of(...column.shape, -1, column.type.length));
    eachRows(column, size, (values) => hash.add(values));
  }
  return { name, samples: size, checksum: hash.text };
}

/** Two 32-bit MurmurHash3 hashes: one of the low halves and one of the high halves of the doubles. */
export class Murmur implements Hash {
  #low = 0x9747b28c;
  #high = 0x85ebca6b;

  add(numbers: Float64Array): void {
    const words = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length * 2);
    let [low, high] = [this.#low, this.#high];
    for (let i = 0; i < words.length; i += 2) {
      low = mixed(low, words[i] as number);
      high = mixed(high, words[i + 1] as number);
    }
    this.#low = low;
    this.#high = high;
  }

  get text(): string {
    return [this.#low ^ this.#high, this.#high]
      .map((hash) => (finished(hash) >>> 0).toString(16).padStart(8, "0"))
      .join("");
  }
}

function mixed(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  const h = hash ^ Math.imul(k, 0x1b873593);
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

function finished(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
