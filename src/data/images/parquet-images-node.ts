import { parquetSchema } from "hyparquet";
import { DataError, UsageError } from "../../errors.ts";
import { Murmur } from "../checksum.ts";
import type { DataConversion, ImageConversion } from "../conversion.ts";
import { isLabelName } from "../match.ts";
import { wantedInputs } from "../model-inputs.ts";
import { classesNamed } from "../named-classes.ts";
import type { DataOptions } from "../options.ts";
import type { SplitData } from "../split-data.ts";
import {
  openedParquet,
  type ParquetFile,
  parquetRow,
  parquetRows,
  recordedClasses,
} from "../tables/parquet-node.ts";
import { numbered } from "../tables/plan.ts";
import { isImage } from "./files-node.ts";
import { type EncodedImage, imageConversionFor, imageDataset } from "./image-dataset-node.ts";

/**
 * The images in a Parquet file: a column of encoded bytes, or of structs `{ bytes, path }` as Hugging Face writes them, with a
 * column of labels beside it. Encoded images are held in memory and decoded when they are read.
 * @returns undefined if the file holds no such column, or if the columns that are asked for lack it
 * @throws SorthError that names row, column and what is expected
 */
export async function loadParquetImages(
  path: string,
  options: DataOptions,
  files: readonly string[] = [path],
): Promise<SplitData | undefined> {
  const all = await Promise.all(
    files.map(async (file): Promise<NamedFile> => ({ ...(await openedParquet(file)), path: file })),
  );
  const opened = all[0] as NamedFile;
  const image = await imageColumnOf(opened, path, options);
  if (image === undefined) return undefined;
  for (const option of ["standardize", "missing"] as const) {
    if (options[option] !== undefined && !(option === "missing" && options.missing === "drop")) {
      throw new UsageError(`${path}: --${option} belongs to columns of numbers, and "${image}" holds images`);
    }
  }
  const stored = options.conversion?.images && options.conversion;
  const { input, ...fitted }: ImageConversion & { readonly input?: string | undefined } = stored?.images
    ? {
        ...stored.images,
        ...(options.resize && { fit: options.resize }),
        input: options.model && wantedInputs(options.model, options.dims)[0]?.name,
      }
    : imageConversionFor(path, options);
  const label = labelColumnOf(opened, path, image, options);
  const { contents, labels, dropped } = await readRows(all, path, { image, label }, options);
  const classes = stored?.classes ?? classesOf(path, opened, { label, labels, names: options.classes });
  const images = contents.map(
    (content, i): EncodedImage => ({
      ...{ name: content.where, content: content.bytes },
      label: label === undefined ? -1 : labelOf(labels[i], classes, content.where, label),
    }),
  );
  const hash = new Murmur();
  for (const { bytes } of contents) hash.add(asNumbers(bytes));
  const dataset = imageDataset({
    ...{ name: path, images, conversion: fitted, input: input ?? "x", augment: options.augment },
    classes: classes?.length ?? Math.max(...images.map((one) => one.label)) + 1,
    fingerprint: `${JSON.stringify(fitted)} ${hash.text} ${images.map((one) => one.label).join()}`,
    named: false,
  });
  const rows = contents.map(({ row }) => row);
  const conversion: DataConversion = stored ?? { version: 1, images: fitted, ...(classes && { classes }) };
  const used = [image, label];
  const others = opened.columns.filter((name) => !used.includes(name));
  const target = label === undefined ? "no labels (--label names their column)" : `labels from ${label}`;
  return {
    train: dropped > 0 ? { ...dataset, sampleRow: (index) => rows[index] ?? -1 } : dataset,
    test: undefined,
    remarks: [
      `${path}: images from ${image}; ${target}${others.length > 0 ? `; not fed: ${others.join(", ")}` : ""}`,
      ...(dropped > 0 ? [`${path}: ${dropped} rows lack a value and are left out`] : []),
    ],
    conversion,
  };
}

type NamedFile = ParquetFile & { readonly path: string };

/** Bytes, filled up to whole doubles. */
function asNumbers(bytes: Uint8Array): Float64Array {
  const numbers = new Float64Array(Math.ceil(bytes.length / 8));
  new Uint8Array(numbers.buffer).set(bytes);
  return numbers;
}

/** The column of images: the only one of structs with bytes, else the only one whose first value is an encoded image. */
async function imageColumnOf(
  opened: ParquetFile,
  path: string,
  { columns, label }: DataOptions,
): Promise<string | undefined> {
  const asked = parquetSchema(opened.metadata).children.filter(
    ({ element: { name } }) => name !== label && (columns === undefined || columns.includes(name)),
  );
  const structs = asked.filter(({ children }) => children.some(({ element }) => element.name === "bytes"));
  let found = structs.map(({ element }) => element.name);
  const binary = asked.filter(({ element }) => element.type === "BYTE_ARRAY" && !element.logical_type);
  if (found.length === 0 && binary.length > 0) {
    const names = binary.map(({ element }) => element.name);
    const [first = {}] = await parquetRows(opened, path, {
      columns: names,
      rowStart: 0,
      rowEnd: 1,
      utf8: false,
    });
    found = names.filter((name) => first[name] instanceof Uint8Array && isImage(first[name] as Uint8Array));
  }
  if (found.length > 1) {
    throw new UsageError(
      `${path}: images lie in the columns ${found.join(" and ")}: choose one with --columns`,
    );
  }
  return found[0];
}

function labelColumnOf(
  { columns: names }: ParquetFile,
  path: string,
  image: string,
  { label: given }: DataOptions,
): string | undefined {
  const label = numbered(given, names);
  if (label !== undefined) {
    if (names.includes(label) && label !== image) return label;
    throw new UsageError(`${path}: there is no column "${label}" (--label); it has ${names.join(", ")}`);
  }
  const usual = names.filter((name) => name !== image && isLabelName(name));
  if (usual.length > 1) {
    throw new UsageError(
      `${path}: which of the columns ${usual.join(" and ")} is the label? Say it with --label`,
    );
  }
  return usual[0];
}

type LabelValue = string | number;

/** Reads the images and labels of files that follow one another. */
async function readRows(
  files: readonly NamedFile[],
  name: string,
  { image, label }: { readonly image: string; readonly label: string | undefined },
  { missing }: DataOptions,
) {
  const contents: { readonly row: number; readonly where: string; readonly bytes: Uint8Array }[] = [];
  const labels: LabelValue[] = [];
  const columns = [image, ...(label === undefined ? [] : [label])];
  // The row in the file, and the rows of the files before it.
  let [first, before, dropped] = [0, 0, 0];
  for (const file of files) {
    const absent = columns.find((column) => !file.columns.includes(column));
    if (absent !== undefined) throw new DataError(`${file.path}: there is no column "${absent}"`);
    first = 0;
    for (const group of file.metadata.row_groups) {
      const rowEnd = first + Number(group.num_rows);
      const range = { rowStart: first, rowEnd, columns, utf8: false };
      for (const [i, object] of (await parquetRows(file, file.path, range)).entries()) {
        const where = parquetRow(file.path, first + i);
        const bytes = bytesIn(object[image], where, image);
        const value = label === undefined ? 0 : labelIn(object[label], where, label);
        if (bytes === undefined || value === undefined) {
          if (missing !== "drop") {
            throw new DataError(
              `${where}, column "${bytes === undefined ? image : label}" has no value: use --missing drop`,
            );
          }
          dropped += 1;
          continue;
        }
        contents.push({ row: before + first + i, where, bytes });
        labels.push(value);
      }
      first = rowEnd;
    }
    before += first;
  }
  if (contents.length === 0) throw new DataError(`${name}: there are no rows with an image`);
  return { contents, labels, dropped };
}

/** @throws DataError for anything but an encoded image */
function bytesIn(value: unknown, place: string, column: string): Uint8Array | undefined {
  const isStruct = typeof value === "object" && value !== null && "bytes" in value;
  const bytes = isStruct ? value.bytes : value;
  const where = `${place}, column "${column}"`;
  if (bytes === undefined || bytes === null) {
    const elsewhere = isStruct && "path" in value && typeof value.path === "string" ? value.path : undefined;
    if (elsewhere === undefined) return undefined;
    throw new DataError(
      `${where} holds the path "${elsewhere}" and no bytes: save the images in the file (datasets: embed_external_files=True)`,
    );
  }
  if (bytes instanceof Uint8Array && isImage(bytes)) return bytes;
  throw new DataError(
    `${where} holds no PNG, JPEG, WebP, GIF, TIFF or AVIF image; remove or replace the row`,
  );
}

function labelIn(value: unknown, where: string, column: string): LabelValue | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string") return value;
  if (value instanceof Uint8Array) return new TextDecoder().decode(value);
  if (typeof value === "boolean") return value ? 1 : 0;
  const number = typeof value === "bigint" ? Number(value) : value;
  if (typeof number === "number" && Number.isInteger(number) && number >= 0) return number;
  throw new DataError(
    `${where}, label "${column}" holds ${String(value)} where a class is expected, a text or a whole number of 0 or more`,
  );
}

interface Labels {
  readonly label: string | undefined;
  readonly labels: readonly LabelValue[];
  /** The classes that the model names. */
  readonly names: readonly string[] | undefined;
}

/** The names of the classes: those that Hugging Face's datasets record, else the texts of the labels in alphabetical order. */
function classesOf(
  path: string,
  { metadata }: ParquetFile,
  { label, labels, names }: Labels,
): readonly string[] | undefined {
  if (label === undefined) return undefined;
  if (labels.some((one) => typeof one === "string")) {
    return classesNamed(`${path}: the label`, [...new Set(labels.map(String))].sort(), names);
  }
  return recordedClasses(metadata).get(label);
}

function labelOf(
  value: LabelValue | undefined,
  classes: readonly string[] | undefined,
  where: string,
  column: string,
): number {
  const found = typeof value === "string" ? (classes?.indexOf(value) ?? -1) : (value ?? -1);
  if (found >= 0 && (classes === undefined || found < classes.length)) return found;
  const known = classes?.slice(0, 20).join(", ") ?? "whole numbers";
  throw new DataError(
    `${where}, label "${column}" holds ${JSON.stringify(value)}, which is none of the classes ${known}`,
  );
}
