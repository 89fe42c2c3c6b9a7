import { existsSync } from "node:fs";
import { type FileHandle, open, readdir } from "node:fs/promises";
import { extname, join, resolve } from "node:path";
import { identityOf } from "../data/checksum.ts";
import type { DataConversion } from "../data/conversion.ts";
import { crcKind, learnCrc } from "../data/crc-checksum.ts";
import type { BatchArray, Column, Dataset } from "../data/dataset.ts";
import type { AugmentedDataset } from "../data/images/augment.ts";
import { matchInputs } from "../data/match.ts";
import type { SplitData } from "../data/split-data.ts";
import { isPadded } from "../data/tables/padding.ts";
import { elementCount } from "../onnx/tensor.ts";
import { makeFolder } from "../onnx/write-file.ts";
import type { StepPorts } from "../programs/step-ports.ts";
import type { ContractDataset, ConvertedData } from "./contract.ts";

/** The folder of the arrays in that of a distribution. */
const dataFolder = "data";

/** Numbers that are read at once. */
const chunkElements = 2 ** 22;

/** Whether workers read the data that `--data` names as they are: mnist, its files, .npz and tables of numbers. */
export async function isReadByWorkers(
  spec: string,
  conversion: DataConversion | undefined,
): Promise<boolean> {
  if (/^mnist( sample)?$/.test(spec) || extname(spec).toLowerCase() === ".npz") return true;
  if (conversion?.images || conversion?.text) return false;
  // Workers fill no lists up, and read one table: padded lists and the rows of several are converted.
  if (conversion?.table && isPadded(conversion.table)) return false;
  if (spec.includes(",") && !existsSync(spec) && conversion?.table) return false;
  const files = await readdir(spec).catch(() => undefined);
  return files ? files.some((file) => file.startsWith("train-images")) : conversion?.table !== undefined;
}

/**
 * Writes samples as arrays that workers map into memory, in the form in which the model's inputs are fed with them: images
 * decoded and resized, texts as tokens. Pixels stay bytes, which workers scale as they feed them.
 * @param folder - that of the distribution
 * @param source - what the data were read from
 */
export async function writeConverted(
  folder: string,
  source: string,
  { train, validation, test }: Pick<SplitData, "train" | "validation" | "test">,
  ports: Pick<StepPorts, "inputs" | "labels" | "targets">,
): Promise<ConvertedData> {
  makeFolder(join(folder, dataFolder));
  const written = (part: string, dataset: Dataset) => writeDataset(folder, part, dataset, ports);
  return {
    source: wholePath(source),
    train: await written("train", train),
    validation: validation ? await written("validation", validation) : null,
    test: test ? await written("test", test) : null,
  };
}

/** The path of data, or the paths of several files with commas, from the root. */
const wholePath = (source: string): string =>
  existsSync(source)
    ? resolve(source)
    : source
        .split(",")
        .map((file) => resolve(file.trim()))
        .join();

async function writeDataset(
  folder: string,
  part: string,
  dataset: Dataset,
  ports: Pick<StepPorts, "inputs" | "labels" | "targets">,
): Promise<ContractDataset> {
  const isDouble = ports.inputs.some(({ type }) => type === "double");
  const columns: ContractDataset["columns"][number][] = [];
  for (const column of columnsOf(dataset, ports)) {
    const file = `${dataFolder}/${part}-${columns.length}.npy`;
    await writeColumn(join(folder, file), column, dataset.size, isDouble);
    const { name, shape, type, bytes = false, black } = column;
    const isLabels = name === dataset.labels?.name || (column.name === "y" && !dataset.inputs);
    const larger = (dataset as AugmentedDataset).enlarged?.get(name);
    const enlarged = `${dataFolder}/${part}-${columns.length}-enlarged.npy`;
    if (larger) await writeColumn(join(folder, enlarged), larger, dataset.size, isDouble);
    columns.push({
      ...{ name, file, shape, bytes, float: type === "float", labels: isLabels },
      ...(black !== undefined && { black }),
      ...(larger && { enlarged }),
    });
  }
  learnCrc();
  const { name, size } = dataset;
  // A run that goes back to `train` is recognized there by its data: by their files if they are images, else by their numbers.
  const checksums = ["", `${crcKind}:`].map((like) => identityOf(dataset, like).checksum);
  return { name, size, columns, checksums };
}

/** The arrays of a dataset, and those that it leaves out because they follow from others: masks and labels of tokens. */
function columnsOf(
  dataset: Dataset,
  { inputs, labels, targets = [] }: Pick<StepPorts, "inputs" | "labels" | "targets">,
): Column[] {
  const names = inputs.map(({ name }) => name);
  const matched = matchInputs(dataset, {
    data: names.filter((name) => !targets.includes(name)),
    // Masked tokens and their labels are other ones in each epoch: workers mask those of the data.
    labels: [...targets, ...(labels && !labels.own?.replacesTokens ? [labels.name] : [])],
    own: labels?.own?.replacesTokens ? undefined : labels,
  }).columns;
  const own = [...(dataset.inputs?.values() ?? []), ...(dataset.labels ? [dataset.labels] : [])];
  const made = [...matched].flatMap(([name, column]) =>
    typeof column === "string" || own.includes(column) ? [] : [{ ...column, name }],
  );
  return [...(dataset.inputs ? own : [...ofFill(dataset), ...own]), ...made];
}

/** The arrays of a dataset that only fills both at once. */
function ofFill(dataset: Dataset): Column[] {
  const { x, y, labels } = dataset;
  const range = () => ({ least: Number.NEGATIVE_INFINITY, most: Number.POSITIVE_INFINITY, whole: false });
  const scratch = (rows: number, shape: readonly number[]) => new Float64Array(rows * elementCount(shape));
  const ofX: Column = {
    ...{ ...x, name: "x", range },
    fill: (indices, target) => dataset.fill(indices, target, scratch(indices.length, y.shape)),
  };
  const ofY: Column = {
    ...{ ...y, name: "y", range },
    fill: (indices, target) => dataset.fill(indices, scratch(indices.length, x.shape), target),
  };
  return y.type === "none" || labels ? [ofX] : [ofX, ofY];
}

/** Writes one array as a `.npy` file, some samples at a time. Format: numpy.lib.format. */
async function writeColumn(path: string, column: Column, size: number, isDouble: boolean): Promise<void> {
  const { type, shape, bytes } = column;
  const { least, most } = bytes || type === "float" ? { least: 0, most: 0 } : column.range();
  const isSmall = least >= -(2 ** 31) && most < 2 ** 31;
  const [descr, make]: [string, (length: number) => BatchArray] = bytes
    ? ["|u1", (length) => new Uint8Array(length)]
    : type === "float"
      ? isDouble
        ? ["<f8", (length) => new Float64Array(length)]
        : ["<f4", (length) => new Float32Array(length)]
      : isSmall
        ? ["<i4", (length) => new Int32Array(length)]
        : ["<i8", (length) => new BigInt64Array(length)];
  const width = Math.max(1, elementCount(shape));
  const rows = Math.max(1, Math.floor(chunkElements / width));
  const file = await open(path, "w");
  try {
    await file.write(header(descr, [size, ...shape]));
    for (let first = 0; first < size; first += rows) {
      const count = Math.min(rows, size - first);
      const target = make(count * elementCount(shape));
      await column.fill(
        Array.from({ length: count }, (_, i) => first + i),
        target,
      );
      await writeAll(file, new Uint8Array(target.buffer, target.byteOffset, target.byteLength));
    }
  } finally {
    await file.close();
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes.subarray(at))).bytesWritten;
}

/** The start of a `.npy` file of version 1; numbers begin at a multiple of 64 bytes. */
function header(descr: string, shape: readonly number[]): Uint8Array {
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
  const length = Math.ceil((text.length + 11) / 64) * 64 - 10;
  const bytes = new Uint8Array(10 + length);
  bytes.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, length & 255, length >> 8]);
  bytes.set(new TextEncoder().encode(`${text.padEnd(length - 1)}\n`), 10);
  return bytes;
}
