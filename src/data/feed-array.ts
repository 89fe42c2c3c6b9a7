import { DataError } from "../errors.ts";
import { shapeText } from "../graph/shapes.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import { numberToFloat16 } from "../onnx/small-types.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import type { BatchArray } from "./dataset.ts";
import type { Fit } from "./fit.ts";

type ArrayType = new (size: number) => BatchArray;

/** Arrays of the types that data can be turned into; a float16 is written as its bits. */
const arrays: Partial<Record<DataTypeName, ArrayType>> = {
  float: Float32Array,
  double: Float64Array,
  float16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
};

/** An input as a graph takes it, every length known. */
export interface FeedPort {
  readonly name: string;
  readonly type: DataTypeName;
  readonly shape: readonly number[];
  readonly batchAxis: number;
}

/** What becomes of samples on their way into a {@link FeedArray}. */
export interface FeedChange {
  /** Shape of a sample as it is read, and the order of its axes. */
  readonly fit: Pick<Fit, "order"> & { readonly read: readonly number[] };
  /** Elements are divided by this. */
  readonly divisor?: number;
  /** Rows of shares of classes become the class: where the classes' axis lies in a sample. */
  readonly classAxis?: number;
}

/**
 * The elements of one input for some batches, side by side. Samples are read into `rows`, then {@link FeedArray.arrange}
 * brings them into the input's type and layout.
 */
export class FeedArray {
  readonly port: FeedPort;
  /** Where samples are read into, one after the other. */
  readonly rows: BatchArray;
  /** What the graph is fed. */
  readonly data: BatchArray;
  readonly #change: FeedChange;
  /** Where each element of a sample goes within a batch, for the first sample; undefined where all stay in place. */
  readonly #places: Uint32Array | undefined;
  /** How far apart the first elements of two samples are within a batch. */
  readonly #step: number;

  /**
   * @param batches - how many batches there is room for
   * @throws SorthError for a type that data cannot be turned into
   */
  constructor(port: FeedPort, change: FeedChange, batches = 1) {
    const type = arrays[port.type];
    if (!type) {
      throw new DataError(
        `input "${port.name}" of the model takes ${port.type}, which data cannot be turned into`,
      );
    }
    this.port = port;
    this.#change = change;
    const batch = port.shape[port.batchAxis] ?? 1;
    const size = batches * elementCount(port.shape);
    const read = batches * batch * elementCount(change.fit.read);
    this.data = new type(size);
    const { order } = change.fit;
    const inner = elementCount(port.shape.slice(port.batchAxis + 1));
    this.#step = inner;
    const moved = order !== undefined || port.batchAxis > 0;
    this.#places = moved ? placesOf(change.fit.read, order, { batch, inner }) : undefined;
    const own = !moved && change.classAxis === undefined && port.type !== "float16";
    this.rows = own
      ? this.data
      : new (port.type === "float16" || change.classAxis !== undefined ? Float32Array : type)(read);
  }

  /** Brings the first samples that were read into the input's type and layout. */
  arrange(count: number): void {
    const { divisor = 1, classAxis } = this.#change;
    const [rows, data] = [this.rows as Float32Array, this.data as Float32Array];
    const width = elementCount(this.#change.fit.read);
    if (divisor !== 1) for (let i = 0; i < count * width; i++) rows[i] = (rows[i] as number) / divisor;
    if (this.rows === this.data) return;
    if (classAxis !== undefined) {
      this.#writeClasses(count, classAxis);
      return;
    }
    const write = this.port.type === "float16" ? numberToFloat16 : (value: number) => value;
    const places = this.#places;
    if (!places) {
      for (let i = 0; i < count * width; i++) data[i] = write(rows[i] as number);
      return;
    }
    const batch = this.port.shape[this.port.batchAxis] ?? 1;
    for (let row = 0; row < count; row++) {
      const to = Math.floor(row / batch) * batch * width + (row % batch) * this.#step;
      for (let i = 0; i < width; i++)
        data[to + (places[i] as number)] = write(rows[row * width + i] as number);
    }
  }

  /** The class of each row of shares. @throws SorthError for a row that is not one 1 among zeros */
  #writeClasses(count: number, axis: number): void {
    const shape = this.#change.fit.read;
    const classes = shape[axis] ?? 1;
    const inner = elementCount(shape.slice(axis + 1));
    const places = elementCount(shape) / classes;
    for (let place = 0; place < count * places; place++) {
      const first = Math.floor(place / inner) * inner * classes + (place % inner);
      let found = -1;
      for (let c = 0; c < classes; c++) {
        const share = this.rows[first + c * inner];
        if (share === 0) continue;
        if (share !== 1 || found >= 0) throw new DataError(notOneHot);
        found = c;
      }
      if (found < 0) throw new DataError(notOneHot);
      this.data[place] = (this.data instanceof BigInt64Array ? BigInt(found) : found) as never;
    }
  }

  /** A tensor over the first batches, which lie side by side; undefined: over one, without an axis for them. */
  tensor(batches?: number): Tensor {
    const { name, type, shape } = this.port;
    const dims = batches === undefined ? shape : [batches, ...shape];
    return Tensor.of(name, type, dims, this.data.subarray(0, elementCount(dims)));
  }
}

const notOneHot =
  'labels with an axis of classes hold one 1 among zeros for each, or shares of 1 with crossEntropy({ labels: "probabilities" })';

/** Where each element of the first sample goes within a batch. */
function placesOf(
  read: readonly number[],
  order: readonly number[] | undefined,
  { batch, inner }: { batch: number; inner: number },
): Uint32Array {
  const axes = order ?? read.map((_, axis) => axis);
  const shape = axes.map((axis) => read[axis] as number);
  const strides = shape.map((_, axis) => elementCount(shape.slice(axis + 1)));
  return Uint32Array.from({ length: elementCount(read) }, (_, element) => {
    let [rest, place] = [element, 0];
    for (let axis = read.length - 1; axis >= 0; axis--) {
      const length = read[axis] as number;
      place += (rest % length) * (strides[axes.indexOf(axis)] as number);
      rest = Math.floor(rest / length);
    }
    return Math.floor(place / inner) * batch * inner + (place % inner);
  });
}

/**
 * The axis of a sample of labels that holds the classes, where a graph takes class indices of another shape.
 * @returns undefined where the shapes are the same but for axes of length 1
 * @throws SorthError where they cannot be brought together
 */
export function oneHotAxis(
  where: string,
  given: readonly number[],
  taken: readonly number[],
  input: string,
): number | undefined {
  if (elementCount(given) === elementCount(taken)) return undefined;
  const plain = taken.filter((dim) => dim !== 1);
  const axis = [given.length - 1, 0].find((classes) => {
    const rest = given.filter((dim, i) => i !== classes && dim !== 1);
    return rest.length === plain.length && rest.every((dim, i) => dim === plain[i]);
  });
  if (axis !== undefined && axis >= 0) return axis;
  throw new DataError(
    `${where}: labels of one sample have shape ${shapeText(given)}, but "${input}" takes ${shapeText(taken)}`,
  );
}
