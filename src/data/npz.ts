import { DataError, FileError, messageOf, SorthError } from "../errors.ts";
import { shapeText } from "../graph/shapes.ts";
import { elementCount } from "../onnx/tensor.ts";
import { arrayColumn, labelled } from "./array-dataset.ts";
import { type Dataset, datasetOfColumns } from "./dataset.ts";
import { isLabelName } from "./match.ts";
import { type NpyArray, parseNpy } from "./npy.ts";
import type { SplitData } from "./split-data.ts";
import { unzip } from "./unzip.ts";

/** The parts of a data set, and the words that begin or end the names of their arrays (`x_train`, `train_images`). */
const parts = {
  train: ["train", "training"],
  validation: ["val", "valid", "validation", "dev"],
  test: ["test", "testing"],
} as const;
type Part = keyof typeof parts;

/** An array of an archive: its part, and its name without the part's word. */
interface Entry {
  readonly file: string;
  readonly part: Part;
  readonly name: string;
  readonly read: () => NpyArray;
}

/** An array in a file, and how it is read. */
export interface NamedArray {
  readonly file: string;
  /** @throws SorthError for anything but numbers */
  readonly read: () => NpyArray;
}

/**
 * The data of an `.npz` archive. Arrays are named after the model's inputs, or `x` for a model with one input; labels are
 * called `y`, `labels` or `targets`. Names of arrays for validation and test begin or end with `val` or `test`, as in files of
 * Keras (`x_train`, `y_train`, `x_test`, `y_test`) and MedMNIST (`train_images`, `train_labels`, `val_images`, …).
 * The first axis counts the samples; if the labels have another number of samples, the only axis of that length does. Integer
 * labels are classes or integers to predict, float labels are targets; pixels stay bytes.
 *
 * @param name - source of the bytes, for messages
 * @throws SorthError when the archive cannot be read, has no array of data, or has arrays that do not fit each other
 *
 * @example
 * // Python: np.savez_compressed("data.npz", x=images.astype("float32"), y=labels)
 * const { train } = parseNpz(bytes, "data.npz");
 */
export function parseNpz(bytes: Uint8Array, name: string): SplitData {
  return dataOfArrays(readArchive(bytes, name), name);
}

/**
 * The data in arrays that are named as in an `.npz` archive, see {@link parseNpz}.
 * @param name - their source, for messages
 * @throws SorthError as {@link parseNpz} does
 */
export function dataOfArrays(arrays: readonly NamedArray[], name: string): SplitData {
  const entries = sortedArrays(arrays);
  const remarks: string[] = [];
  const partOf = (part: Part, label: string): Dataset | undefined => {
    const own = entries.filter((entry) => entry.part === part);
    return own.length > 0 ? datasetOf(own, label, remarks) : undefined;
  };
  const train = partOf("train", name);
  if (!train) {
    const held = entries.map(({ file }) => file).join(", ") || "nothing";
    throw new DataError(
      `${name}: there are no arrays to train with (it holds ${held}); save them with np.savez(file, x=…, y=…)`,
    );
  }
  const validation = partOf("validation", `${name} (validation)`);
  const test = partOf("test", `${name} (test)`);
  for (const other of [validation, test]) if (other) checkSame(train, other);
  return { train, ...(validation && { validation }), test, ...(remarks.length > 0 && { remarks }) };
}

function readArchive(bytes: Uint8Array, name: string): NamedArray[] {
  let files: Map<string, Uint8Array>;
  try {
    files = unzip(bytes);
  } catch (error) {
    throw new FileError(`${name}: not an .npz archive, or a damaged one (${messageOf(error)})`);
  }
  return [...files].map(([path, content]) => {
    const file = path.replace(/\.npy$/, "");
    return { file, read: () => parseNpy(content, `${name}: ${file}`) };
  });
}

/** Arrays, assigned to parts. */
function sortedArrays(arrays: readonly NamedArray[]): Entry[] {
  const found = arrays.map((array) => ({ ...array, ...partAndName(array.file) }));
  // "is_test" is the test part of "is" only if there is an "is" for training; the same holds for any other name.
  const trained = new Set(found.filter(({ part }) => part === "train").map((entry) => nameKey(entry.name)));
  const sorted = found.map((entry): Entry => {
    const alone = entry.part !== "train" && !trained.has(nameKey(entry.name));
    return alone ? { ...entry, part: "train", name: entry.file } : entry;
  });
  // Names that occur both with and without a part, such as "x" and "x_train".
  const plain = new Set(
    sorted
      .filter(({ part, file }) => part === "train" && partAndName(file).name === file)
      .map((entry) => entry.file),
  );
  return sorted.map((entry) =>
    entry.part === "train" && entry.name !== entry.file && plain.has(entry.name)
      ? { ...entry, name: entry.file }
      : entry,
  );
}

const nameKey = (name: string): string => (isLabelName(name) ? "labels" : name.toLowerCase());

function partAndName(file: string): { part: Part; name: string } {
  for (const part of Object.keys(parts) as Part[]) {
    for (const word of parts[part]) {
      const name = new RegExp(`^${word}[_-](.+)$|^(.+)[_-]${word}$`, "i").exec(file);
      if (name) return { part, name: name[1] ?? name[2] ?? file };
    }
  }
  return { part: "train", name: file };
}

function datasetOf(entries: readonly Entry[], name: string, remarks: string[]): Dataset {
  const arrays = new Map<string, NpyArray>();
  const broken = new Map<string, string>();
  for (const { name: key, read } of entries) {
    try {
      arrays.set(key, read());
    } catch (error) {
      // Archives may also hold class names and the like; only x and y must be numbers.
      if (!(error instanceof SorthError)) throw error;
      broken.set(key, error.message);
    }
  }
  const labelKey = ["y", "labels", "label"].find((key) => arrays.has(key) || broken.has(key));
  const key = labelKey ?? [...arrays.keys()].find(isLabelName);
  const failed =
    [...broken].find(([array]) => array === key || array.toLowerCase() === "x") ?? [...broken][0];
  const data = [...arrays.keys()].filter((array) => array !== key);
  if (failed && (failed[0] === key || failed[0].toLowerCase() === "x" || data.length === 0)) {
    throw new DataError(failed[1]);
  }
  for (const message of broken.values()) remarks.push(`left out: ${message}`);
  const labels = key === undefined ? undefined : arrays.get(key);
  const size = sampleCount(arrays, labels, data, name);
  const columns = data.flatMap((array) => {
    const found = arrays.get(array) as NpyArray;
    const moved = samplesFirst(found, size);
    if (!moved) {
      if (data.length === 1 || array.toLowerCase() === "x") {
        const other = labels ? ` and ${key} ${shapeText(labels.shape)}` : "";
        throw new DataError(
          `${name}: ${array} has shape ${shapeText(found.shape)}${other}; an axis of both must count the samples`,
        );
      }
      remarks.push(
        `${name}: ${array} ${shapeText(found.shape)} has no row for each of ${size} samples: left out; what a model takes as a whole, as the edges of a graph, a loop of your own can feed (sorth-onnx step)`,
      );
      return [];
    }
    if (moved !== found) {
      const axis = found.shape.indexOf(size);
      remarks.push(
        `${name}: ${array} ${shapeText(found.shape)} counts its samples on axis ${axis}, as ${key} does`,
      );
    }
    return [arrayColumn(name, array, size, { ...moved, shape: moved.shape.slice(1) })];
  });
  const target =
    labels && key !== undefined
      ? labelled(arrayColumn(name, key, size, { ...labels, shape: labels.shape.slice(1) }))
      : undefined;
  return datasetOfColumns(name, size, columns, target);
}

/** The number of samples: rows of the labels, else of the first array. */
function sampleCount(
  arrays: ReadonlyMap<string, NpyArray>,
  labels: NpyArray | undefined,
  data: readonly string[],
  name: string,
): number {
  const size = (labels ?? arrays.get(data[0] ?? ""))?.shape[0];
  if (size === 0) throw new DataError(`${name}: there are no samples`);
  if (size !== undefined) return size;
  const held = [...arrays].map(([key, { shape }]) => `${key} ${shapeText(shape)}`).join(", ") || "nothing";
  throw new DataError(
    `${name}: the first axis of the labels, or of the data, must count the samples; it holds ${held}`,
  );
}

/** The array with its samples on the first axis, to which its only axis of length `size` is moved if necessary. */
function samplesFirst(array: NpyArray, size: number): NpyArray | undefined {
  const { shape, data } = array;
  if (shape[0] === size) return array;
  const [axis, ...others] = shape.flatMap((dim, at) => (dim === size ? [at] : []));
  if (axis === undefined || others.length > 0) return undefined;
  const outer = elementCount(shape.slice(0, axis));
  const inner = elementCount(shape.slice(axis + 1));
  const moved = data.slice() as typeof data;
  for (let row = 0; row < size; row++) {
    for (let o = 0; o < outer; o++) {
      const from = (o * size + row) * inner;
      moved.set(data.subarray(from, from + inner) as never, (row * outer + o) * inner);
    }
  }
  return { ...array, shape: [size, ...shape.toSpliced(axis, 1)], data: moved };
}

function checkSame(train: Dataset, other: Dataset): void {
  for (const [key, { shape }] of train.inputs ?? []) {
    const found = other.inputs?.get(key);
    if (found && found.shape.join() !== shape.join()) {
      throw new DataError(
        `${train.name}: samples of ${key} have shape ${shapeText(shape)}, but those of ${other.name} ${shapeText(found.shape)}`,
      );
    }
  }
  if (train.labels && !other.labels) {
    throw new DataError(`${other.name}: there are no labels, although the training data has some`);
  }
}
