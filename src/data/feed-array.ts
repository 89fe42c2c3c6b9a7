import { DataError } from "../errors.ts";
import { shapeText } from "../graph/shapes.ts";
import type { LabelMaker } from "../losses/objective.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import { numberToFloat16 } from "../onnx/small-types.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import { arrayFor, boundTypes, isWide } from "../onnx/tensor-data.ts";
import type { BatchArray } from "./dataset.ts";
import type { Fit } from "./fit.ts";
import type { Mix } from "./mixup.ts";
import type { ChannelScale } from "./normalize.ts";

/** An input of a graph, with all lengths known. */
export interface FeedPort {
  readonly name: string;
  readonly type: DataTypeName;
  readonly shape: readonly number[];
  readonly batchAxis: number;
  /** How the objective makes these labels of tokens where the data hold none. */
  readonly own?: LabelMaker | undefined;
}

/** The conversion of samples for a {@link FeedArray}. */
interface FeedChange {
  /** Shape of a sample as read, and the order of its axes in the input. */
  readonly fit: Pick<Fit, "order"> & { readonly read: readonly number[] };
  /** Number by which elements are divided. */
  readonly divisor?: number;
  /** Means and standard deviations of the channels, applied after the division. */
  readonly scale?: ChannelScale | undefined;
  /** Axis of the classes in a sample, if one-hot labels are converted to class indices. */
  readonly classAxis?: number;
  /** Shape of a sample and axis of its classes, if class indices are converted to one number for each class. */
  readonly oneHot?: { readonly shape: readonly number[]; readonly axis: number };
}

/**
 * The elements of one input for one or more consecutive batches. Samples are read into `rows`; {@link FeedArray.arrange}
 * then converts them to the input's type and layout.
 */
export class FeedArray {
  readonly port: FeedPort;
  /** Array into which samples are read, one after another. */
  readonly rows: BatchArray;
  /** Array that is fed to the graph. */
  readonly data: BatchArray;
  readonly #change: FeedChange;
  /** Position within a batch of each element of the first sample; undefined if all elements stay in place. */
  readonly #places: Uint32Array | undefined;
  /** Distance between the first elements of two consecutive samples in a batch. */
  readonly #step: number;

  /**
   * @param batches - capacity in batches
   * @throws SorthError for a type to which data cannot be converted
   */
  constructor(port: FeedPort, change: FeedChange, batches = 1) {
    const type = arrayFor(port.type);
    if (!boundTypes.has(port.type)) {
      throw new DataError(
        `input "${port.name}" of the model takes ${port.type}, to which data cannot be converted`,
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
    const converts = change.classAxis !== undefined || change.oneHot !== undefined;
    this.rows =
      !moved && !converts && port.type !== "float16"
        ? this.data
        : new (port.type === "float16" || converts ? Float32Array : type)(read);
  }

  /**
   * Converts the first `count` samples in `rows` to the input's type and layout.
   * @param mix - mixes them
   */
  arrange(count: number, mix?: Mix): void {
    const { divisor = 1, classAxis, oneHot, scale } = this.#change;
    const [rows, data] = [this.rows as Float32Array, this.data as Float32Array];
    const width = elementCount(this.#change.fit.read);
    if (divisor !== 1) for (let i = 0; i < count * width; i++) rows[i] = (rows[i] as number) / divisor;
    if (scale) scaleChannels(rows, count * width, scale);
    if (oneHot) {
      this.#writeShares(count, oneHot);
      mix?.(data, elementCount(oneHot.shape));
      return;
    }
    mix?.(rows, width);
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

  /** Writes the class index of each one-hot row. @throws SorthError for a row that is not a single 1 among zeros */
  #writeClasses(count: number, axis: number): void {
    const shape = this.#change.fit.read;
    const classes = shape[axis] ?? 1;
    const inner = elementCount(shape.slice(axis + 1));
    const places = elementCount(shape) / classes;
    for (let place = 0; place < count * places; place++) {
      const found = oneHotClass(this.rows, place, classes, inner);
      if (found < 0) throw new DataError(notOneHot);
      this.data[place] = (isWide(this.data) ? BigInt(found) : found) as never;
    }
  }

  /** Writes 1 for the class of each place and 0 for the others. */
  #writeShares(count: number, { shape, axis }: NonNullable<FeedChange["oneHot"]>): void {
    const [classes, inner] = [shape[axis] ?? 1, elementCount(shape.slice(axis + 1))];
    const places = elementCount(shape) / classes;
    this.data.fill(0 as never, 0, count * places * classes);
    for (let place = 0; place < count * places; place++) {
      const label = Number(this.rows[place]);
      if (!(label >= 0 && label < classes)) {
        throw new DataError(
          `the label ${label} is no class of the model, which has ${classes} (0 … ${classes - 1})`,
        );
      }
      this.data[Math.floor(place / inner) * inner * classes + label * inner + (place % inner)] = 1 as never;
    }
  }

  /** The first `batches` batches as one tensor with a leading axis; by default one batch, without that axis. */
  tensor(batches?: number): Tensor {
    const { name, type, shape } = this.port;
    const dims = batches === undefined ? shape : [batches, ...shape];
    return Tensor.of(name, type, dims, this.data.subarray(0, elementCount(dims)));
  }
}

/** (v − mean)/std, each channel with its own numbers. */
function scaleChannels(rows: Float32Array, size: number, { mean, std, inner }: ChannelScale): void {
  for (let i = 0; i < size; i++) {
    const channel = Math.floor(i / inner) % mean.length;
    rows[i] = ((rows[i] as number) - (mean[channel] as number)) / (std[channel] as number);
  }
}

/** What one-hot labels are, and which options read others. */
export const notOneHot =
  'one-hot labels hold one 1 among zeros; several 1 or none are for the loss bce, other numbers for mse, shares of 1 for --labels probabilities (crossEntropy({ labels: "probabilities" }))';

/** Position within a batch of each element of the first sample. */
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

/** The class of a place of one-hot labels [places, classes, inner]; −1 if the place holds more or less than a single 1. */
export function oneHotClass(rows: FeedArray["rows"], place: number, classes: number, inner: number): number {
  const first = Math.floor(place / inner) * inner * classes + (place % inner);
  let found = -1;
  for (let c = 0; c < classes; c++) {
    const share = rows[first + c * inner];
    if (share === 0) continue;
    if (share !== 1 || found >= 0) return -1;
    found = c;
  }
  return found;
}

/**
 * The axis of the classes in one-hot labels, if the graph takes class indices, whose shape lacks that axis.
 * @returns undefined if the shapes are equal except for axes of length 1
 * @throws SorthError when the shapes do not fit each other
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
