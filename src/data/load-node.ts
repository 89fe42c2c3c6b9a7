import { readdir, stat } from "node:fs/promises";
import { dirname, extname, join } from "node:path";
import { checkText } from "../check-arguments.ts";
import { FileError, UsageError } from "../errors.ts";
import { readOrdinary } from "../onnx/read-file.ts";
import { reasonOf } from "../onnx/write-file.ts";
import { checkDataOptions } from "./check-options.ts";
import { loadMnist } from "./mnist-node.ts";
import { namesOf } from "./named-classes.ts";
import { parseNpz } from "./npz.ts";
import type { DataOptions } from "./options.ts";
import { inOrder, isShard, partNameOf } from "./shards.ts";
import type { SplitData } from "./split-data.ts";

/** Reads an `.npz` file; {@link parseNpz} says what it must hold. @throws SorthError when it cannot be read */
export async function loadNpz(path: string): Promise<SplitData> {
  checkText("the path of data", path);
  let bytes: Uint8Array;
  try {
    bytes = await readOrdinary(path);
  } catch (error) {
    throw new FileError(`${path}: cannot be read (${reasonOf(error)})`);
  }
  return parseNpz(bytes, path);
}

/** The kinds of data that {@link loadData} reads, for messages and help. */
export const dataKinds =
  "mnist, a folder of images (one folder per class) or of parts (train.csv, validation.csv, test.csv; train-00000-of-00002.parquet …), .csv, .tsv, .jsonl, .parquet (several with commas), .txt, .npz, .safetensors, or .npy and IDX files (a folder of them, or several with commas)";

/**
 * Loads the data that `--data` names: `mnist`; a folder of images with one folder per class; a table (`.csv`, `.tsv`, `.jsonl`,
 * `.parquet`), with its label column behind a colon (`people.csv:income`) if that has no usual name; texts (`.txt`, or a
 * column of a table) with `options.tokenizer`; arrays (`.npz`, `.npy`,
 * `.safetensors`, IDX), a folder of them, or several arrays or tables with commas between them. docs/data.md describes each.
 *
 * Images and tables are converted to fit `options.model`. `options.conversion` converts them as those of a trained model.
 * @throws UsageError for anything else; SorthError when the data cannot be read, naming file, row and column
 *
 * @example
 * const model = await readModel("model.onnx");
 * const { train, conversion } = await loadData("people.csv", { model, label: "income", standardize: true });
 */
export async function loadData(spec: string, options: DataOptions = {}): Promise<SplitData> {
  checkText("what names data", spec);
  checkDataOptions(options);
  const { classes = namesOf(options.model) } = options;
  const data = await loadKind(spec, { ...options, classes });
  // Folders of images change them when they are decoded.
  if (!options.augment || data.conversion?.images) return data;
  const { augmentedDataset } = await import("./images/augmented.ts");
  return { ...data, train: augmentedDataset(data.train, options.augment) };
}

async function loadKind(spec: string, options: DataOptions): Promise<SplitData> {
  if (spec === "mnist") {
    refuseTableOptions(spec, options);
    return loadMnist();
  }
  const info = await stat(spec).catch(() => undefined);
  if (info?.isDirectory()) return loadFolder(spec, options);
  // Opening a pipe would wait for a process that writes into it.
  if (info && !info.isFile())
    throw new FileError(`cannot read "${spec}": it is a pipe, a device or a socket; give an ordinary file`);
  const { isTable } = await import("./tables/open-node.ts");
  const { loadTable } = await import("./tables/load-node.ts");
  const { isArrayFile, loadArrays } = await import("./arrays/load-node.ts");
  const [, path, label] = (!info && /^(.+):([^:/\\]+)$/.exec(spec)) || [];
  const isLabelled = path !== undefined && isTable(path);
  const named = isLabelled ? path : spec;
  const isOne = (await stat(named).catch(() => undefined)) !== undefined;
  const files = isOne ? [named] : named.split(",").map((file) => file.trim());
  for (const file of isOne ? [] : files) {
    if (await stat(file).catch(() => undefined)) continue;
    throw new FileError(`${file}: there is no such file or folder; data are ${dataKinds}`);
  }
  if (isLabelled && label !== undefined) {
    if (options.label !== undefined && options.label !== label) {
      throw new UsageError(
        `${spec}: the label is "${label}" here and "${options.label}" in --label; give one`,
      );
    }
    return loadTable(path, { ...options, label }, files);
  }
  if (files.every(isTable)) return loadTable(spec, options, files);
  if (extname(spec).toLowerCase() === ".txt")
    return (await import("./text/load-node.ts")).loadText(spec, options);
  refuseTableOptions(spec, options);
  if (extname(spec).toLowerCase() === ".npz") return loadNpz(spec);
  if (files.every(isArrayFile)) return loadArrays(files, spec);
  const help = conversionHelp.find(([pattern]) => files.some((file) => pattern.test(file)))?.[1];
  throw new UsageError(`${spec}: ${help ?? `unknown kind of data; give ${dataKinds}`}`);
}

/** What to do with files of kinds that are not read, but often lie beside those that are. */
const conversionHelp: readonly (readonly [RegExp, string])[] = [
  [
    /\.(gz|zip|bz2|xz|zst|tar|tgz|7z)$/i,
    "compressed files and archives are not read: unpack it, or save the table as Parquet, which is compressed",
  ],
  [
    /\.json$/i,
    'a file of JSON is one value: write one object per line (.jsonl; pandas: to_json with orient="records" and lines=True)',
  ],
  [/\.(xlsx?|ods|numbers)$/i, "spreadsheets are not read: save the sheet as CSV"],
  [/\.(arrow|feather|ipc|orc|avro)$/i, "write it as Parquet (pyarrow, pandas and datasets: to_parquet)"],
  [/\.(pkl|pickle|pt|pth|mat|h5|hdf5|joblib)$/i, "save its arrays in an .npz file (numpy.savez)"],
  [
    /\.(png|jpe?g|webp|gif|bmp|tiff?|avif)$/i,
    "one image is no data set: give the folder, with one folder per class",
  ],
];

/** Names of the parts of a dataset, as files of a folder have them. */
const partNames: Readonly<Record<"train" | "validation" | "test", readonly string[]>> = {
  train: ["train"],
  validation: ["validation", "valid", "val", "dev"],
  test: ["test"],
};

/** The files of each part of a dataset: `train.csv`, `validation.csv`, `test.jsonl`, or several with numbers. */
type Parts = Readonly<Record<keyof typeof partNames, readonly string[]>>;

/** @throws SorthError for two files of one part that do not belong together, and where one of several is missing */
function partsOf(folder: string, files: readonly string[], isPart: (file: string) => boolean): Parts {
  const found = (part: keyof Parts): readonly string[] => {
    const own = files.filter((file) => isPart(file) && partNames[part].includes(partNameOf(file)));
    const kinds = new Set(own.map((file) => join(dirname(file), partNameOf(file)) + extname(file)));
    if (kinds.size === 1 && own.every(isShard)) return inOrder(folder, own);
    if (own.length < 2) return own;
    throw new UsageError(`${folder}: ${own.join(" and ")} are both the part ${part}: leave one`);
  };
  return { train: found("train"), validation: found("validation"), test: found("test") };
}

/** Loads the files of a folder that are the parts of one dataset; the others are read as that to train on. */
async function loadParts(folder: string, options: DataOptions, parts: Parts): Promise<SplitData> {
  const whole = await loadPart(folder, parts.train, options);
  const { conversion = options.conversion, remarks = [] } = whole;
  const other = async (files: readonly string[]) => {
    if (files.length === 0) return undefined;
    const { model, dims, missing, tokenizer, text, truncation } = options;
    const own = { model, dims, missing, tokenizer, text, truncation };
    return loadPart(folder, files, { ...(conversion ? own : options), conversion });
  };
  const [validation, test] = [await other(parts.validation), await other(parts.test)];
  return {
    ...whole,
    ...(validation && { validation: validation.train }),
    test: test?.train,
    remarks: [...remarks, ...(validation?.remarks ?? []), ...(test?.remarks ?? [])],
  };
}

/** Loads the files of one part. */
async function loadPart(folder: string, files: readonly string[], options: DataOptions): Promise<SplitData> {
  const [first = "", second] = files;
  if (second === undefined) return loadKind(join(folder, first), options);
  const name = join(folder, first.replace(/-\d{5}(?=-of-)/, "-*"));
  const paths = files.map((file) => join(folder, file));
  const load =
    extname(first).toLowerCase() === ".txt"
      ? (await import("./text/load-node.ts")).loadText
      : (await import("./tables/load-node.ts")).loadTable;
  return load(name, options, paths);
}

async function loadFolder(folder: string, options: DataOptions): Promise<SplitData> {
  const { isTable } = await import("./tables/open-node.ts");
  const isPart = (file: string) => isTable(file) || extname(file).toLowerCase() === ".txt";
  const listed = await readdir(folder, { withFileTypes: true });
  const own = listed.map(({ name }) => name);
  // Datasets of Hugging Face's Hub keep their parts in a folder data.
  const inData = listed.some((entry) => entry.isDirectory() && entry.name === "data")
    ? (await readdir(join(folder, "data"))).map((file) => join("data", file))
    : [];
  const parts = partsOf(folder, [...own, ...inData], isPart);
  if (parts.train.length > 0) return loadParts(folder, options, parts);
  if (own.includes("dataset_dict.json") || own.includes("dataset_info.json")) {
    throw new UsageError(
      `${folder}: datasets' save_to_disk wrote this folder, in Arrow files that are not read here: write Parquet, dataset.to_parquet("train.parquet"), or one file for each part in a folder`,
    );
  }
  refuseTableOptions(folder, options);
  const { isArrayFile, loadArrays } = await import("./arrays/load-node.ts");
  const files = (await readdir(folder)).filter(isArrayFile).sort();
  if (files.length > 0) {
    // If a file is there both plain and gzipped, only the plain one is read.
    const once = files.filter((file) => !files.includes(file.replace(/\.gz$/i, "")) || !/\.gz$/i.test(file));
    return loadArrays(
      once.map((file) => join(folder, file)),
      folder,
    );
  }
  const { loadImageFolder } = await import("./images/folder-node.ts");
  return loadImageFolder(folder, options);
}

/** @throws UsageError for options that only tables and texts take */
function refuseTableOptions(
  spec: string,
  { label, columns, missing, standardize, tokenizer, length, text, truncation }: DataOptions,
): void {
  const isGiven = ([, value]: readonly [string, unknown]) => value !== undefined;
  const [ofText] = Object.entries({ tokenizer, length, text, truncation }).filter(isGiven);
  if (ofText)
    throw new UsageError(
      `${spec}: --${ofText[0]} belongs to texts (.txt, or a column of .csv, .tsv, .jsonl, .parquet)`,
    );
  const [given] = Object.entries({ label, columns, missing, standardize }).filter(isGiven);
  if (given) throw new UsageError(`${spec}: --${given[0]} belongs to tables (.csv, .tsv, .jsonl, .parquet)`);
}
