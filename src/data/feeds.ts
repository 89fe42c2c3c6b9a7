import { DataError } from "../errors.ts";
import { shapeText } from "../graph/shapes.ts";
import { isFloat } from "../onnx/data-types.ts";
import { elementCount, type Tensor } from "../onnx/tensor.ts";
import { isWide } from "../onnx/tensor-data.ts";
import {
  type BatchArray,
  type Column,
  type Dataset,
  type Filled,
  isPending,
  mainColumn,
  type TrainingPass,
  together,
} from "./dataset.ts";
import { FeedArray, type FeedPort, oneHotAxis } from "./feed-array.ts";
import { checkNumbers, fitShape } from "./fit.ts";
import { matchInputs } from "./match.ts";
import type { Mixup } from "./mixup.ts";
import { channelScale, divisorOf, type Normalization } from "./normalize.ts";

/** The inputs of a graph that are fed with data, with all lengths known. */
export interface FedPorts {
  readonly data: readonly FeedPort[];
  readonly labels: readonly FeedPort[];
}

/** Options of {@link DataFeeds}. */
export interface FeedOptions {
  /** Capacity in batches; default 1. */
  readonly batches?: number;
  /** Conversion of pixels; default: none. */
  readonly normalize?: Normalization | undefined;
  /** Mixes the samples of each batch, and their labels, while training. */
  readonly mixup?: Mixup | undefined;
  /** Arrays that are not unused, although no input takes them. */
  readonly readElsewhere?: readonly string[] | undefined;
  /** Inputs that are fed with nothing: a length of theirs is 0. */
  readonly empty?: readonly FeedPort[];
  /** Receives messages for the user: transposed arrays, unused arrays. */
  readonly onMessage?: ((message: string) => void) | undefined;
}

/** The inputs of a graph with the arrays that are fed to them. */
export function fedColumns(ports: FedPorts, dataset: Dataset): [FeedPort, Column][] {
  const { columns } = matchInputs(dataset, namesOf(ports));
  return ports.data.flatMap((port) => {
    const column = columns.get(port.name);
    return column === undefined || typeof column === "string" ? [] : [[port, column] as [FeedPort, Column]];
  });
}

const namesOf = ({ data, labels }: FedPorts) => ({
  data: data.map(({ name }) => name),
  labels: labels.map(({ name }) => name),
  own: labels.find(({ own }) => own),
});

/** Feeds a dataset to a graph, batch by batch. */
export class DataFeeds {
  /** Samples per batch. */
  readonly batch: number;
  readonly #dataset: Dataset;
  readonly #empty: readonly FeedArray[];
  readonly #mixup: Mixup | undefined;
  readonly #feeds: readonly { readonly array: FeedArray; readonly column: Column | "x" | "y" }[];

  /** @throws SorthError when an input has no array, or when samples do not fit an input */
  constructor(ports: FedPorts, dataset: Dataset, options: FeedOptions = {}) {
    const { batches = 1, onMessage = () => {} } = options;
    this.#dataset = dataset;
    this.#mixup = options.mixup;
    this.#empty = (options.empty ?? []).map((port) => new FeedArray(port, { fit: { read: [0] } }));
    const { columns, unused } = matchInputs(dataset, namesOf(ports));
    const [first] = ports.data;
    this.batch = first?.shape[first.batchAxis] ?? 1;
    const columnOf = (port: FeedPort) => columns.get(port.name) ?? "x";
    this.#feeds = [
      ...ports.data.map((port) => {
        if (port.shape[port.batchAxis] !== this.batch) throw new DataError(this.#batchText(port, first));
        return { column: columnOf(port), array: this.#dataArray(port, columnOf(port), options) };
      }),
      ...ports.labels.map((port) => ({
        column: columnOf(port),
        array: this.#labelArray(port, columnOf(port), batches),
      })),
    ];
    const left = unused.filter(
      (name) =>
        !options.readElsewhere?.includes(name) && (ports.labels.length > 0 || name !== dataset.labels?.name),
    );
    if (left.length > 0)
      onMessage(`${dataset.name}: arrays that the model does not take: ${left.join(", ")}`);
  }

  /**
   * Reads samples; several batches follow one another. If the dataset answers with a promise, so does this, and tensors hold
   * the samples once it is fulfilled.
   * @param pass - for training
   */
  fill(indices: ArrayLike<number>, pass?: TrainingPass): Filled {
    const filled = this.#read(indices, pass);
    const arrange = () => {
      const mix = pass && this.#mixup?.(indices, this.batch, pass);
      for (const { array } of this.#feeds) array.arrange(indices.length, mix);
    };
    return isPending(filled) ? filled.then(arrange) : arrange();
  }

  #read(indices: ArrayLike<number>, pass: TrainingPass | undefined): Filled {
    const dataset = this.#dataset;
    const { inputs, labels } = dataset;
    const main = inputs && mainColumn(inputs.values());
    const rowsOf = (one: Column | "x" | "y" | undefined) =>
      this.#feeds.find(({ column }) => column === one)?.array.rows;
    const x = rowsOf("x") ?? (main && rowsOf(main));
    const y = rowsOf("y") ?? (labels && rowsOf(labels));
    const scratch = (shape: readonly number[]): BatchArray =>
      new Float64Array(indices.length * elementCount(shape));
    const both = () =>
      dataset.fill(indices, x ?? scratch(dataset.x.shape), y ?? scratch(dataset.y.shape), pass);
    // Read a dataset of only x and y through its own `fill`, which a wrapping dataset may have replaced.
    if ([x, y].filter(Boolean).length === this.#feeds.length) return both();
    return together([
      ...(this.#feeds.some(({ column }) => typeof column === "string") ? [both()] : []),
      ...this.#feeds.map(({ array, column }) =>
        typeof column === "string" ? undefined : column.fill(indices, array.rows, pass),
      ),
    ]);
  }

  /**
   * The labels of the samples that were last read, as numbers.
   * @param input - name of a label input, for models with several; default: the last one
   */
  labelsOf(input?: string): ArrayLike<number> {
    const feeds = this.#feeds.filter(({ array: { port } }) => input === undefined || port.name === input);
    const data = feeds.at(-1)?.array.data ?? [];
    return isWide(data) ? Array.from(data as BigInt64Array, Number) : data;
  }

  /** Data and labels by input name: one batch or, with a leading axis, the first `batches` batches. */
  tensors(batches?: number): Map<string, Tensor> {
    const arrays = [...this.#feeds.map(({ array }) => array), ...this.#empty];
    return new Map(arrays.map((array) => [array.port.name, array.tensor(batches)]));
  }

  #dataArray(port: FeedPort, column: Column | "x" | "y", options: FeedOptions): FeedArray {
    const { name, x } = this.#dataset;
    const { batches = 1, normalize, onMessage } = options;
    const type = typeof column === "string" ? x : column;
    const where = `${name}: ${typeof column === "string" ? column : column.name}`;
    const fit = fitShape(where, type.shape, port);
    if (fit.remark) onMessage?.(fit.remark);
    const divisor = typeof column === "string" ? 1 : divisorOf(name, normalize, port, column);
    checkNumbers(where, type, typeof column === "string" ? undefined : column.range(), port);
    const read = { read: type.shape, ...(fit.order && { order: fit.order }) };
    // Adding or removing axes of length 1 does not change the order of the elements.
    const fits = fit.order ? read : { read: fit.shape };
    const scale = isFloat(port.type) ? channelScale(where, normalize, type.shape) : undefined;
    if (options.mixup && !isFloat(port.type)) {
      throw new DataError(
        `input "${port.name}" of the model takes ${port.type}, which mixup cannot mix: leave it out`,
      );
    }
    return new FeedArray(port, { fit: fits, divisor, scale }, batches);
  }

  #labelArray(port: FeedPort, column: Column | "x" | "y", batches: number): FeedArray {
    const { name, y } = this.#dataset;
    const type = typeof column === "string" ? y : column;
    const where = `${name}: ${typeof column === "string" ? column : column.name}`;
    const rows = port.shape[0] ?? 1;
    const perRow = port.shape.slice(1);
    // Each sample may have several rows, one per position: [batch · positions].
    const places = rows / this.batch;
    const taken = places > 1 && Number.isInteger(places) ? [places, ...perRow] : perRow;
    const classIndex = port.type === "int32" || port.type === "int64";
    const count = elementCount(taken);
    // Class indices for an input of one number per class.
    const shares = !classIndex && type.type === "integer" && count !== elementCount(type.shape);
    const hotAxis = shares ? oneHotAxis(where, taken, type.shape, port.name) : undefined;
    if (count !== elementCount(type.shape) && !classIndex && hotAxis === undefined) {
      throw new DataError(
        `${where}: labels of one sample have shape ${shapeText(type.shape)}, but "${port.name}" takes ${shapeText(taken)}`,
      );
    }
    const axis = classIndex ? oneHotAxis(where, type.shape, taken, port.name) : undefined;
    if (elementCount(port.shape) !== this.batch * count) {
      throw new DataError(
        `"${port.name}" takes labels of shape ${shapeText(port.shape)}, but a batch of ${this.batch} samples of ${name} has ${shapeText([this.batch, ...type.shape])}`,
      );
    }
    if (axis === undefined && hotAxis === undefined) {
      checkNumbers(where, type, typeof column === "string" ? undefined : column.range(), port);
    }
    const change = {
      fit: { read: type.shape },
      ...(axis !== undefined && { classAxis: axis }),
      ...(hotAxis !== undefined && { oneHot: { shape: taken, axis: hotAxis } }),
    };
    return new FeedArray({ ...port, batchAxis: 0 }, change, batches);
  }

  #batchText(port: FeedPort, first: FeedPort | undefined): string {
    const text = ({ name, shape, batchAxis }: FeedPort) =>
      `"${name}" ${shapeText(shape)} (axis ${batchAxis})`;
    return `the model's inputs hold different numbers of samples: ${first ? text(first) : ""} and ${text(port)}; fix their lengths with --dim`;
  }
}
