import { basename, extname } from "node:path";
import { DataError } from "../errors.ts";

/** How `datasets` of Hugging Face's Hub names the files of a part: `train-00000-of-00002.parquet`, with or without a checksum. */
const form = /-(\d{5})-of-(\d{5})(-[\da-f]+)?$/;

const stemOf = (file: string): string => basename(file, extname(file));

/** The part of a dataset that a file belongs to, by its name in lower case. */
export const partNameOf = (file: string): string => stemOf(file).toLowerCase().replace(form, "");

/** Whether a file is one of several that hold a part together, by its name. */
export const isShard = (file: string): boolean => form.test(stemOf(file));

/**
 * The files of one part in the order of their numbers.
 * @param folder - where they lie, for messages
 * @throws DataError where one is missing, and for files of two divisions
 */
export function inOrder(folder: string, files: readonly string[]): readonly string[] {
  const numbered = files.map((file) => {
    const [, number = "", total = ""] = form.exec(stemOf(file)) ?? [];
    return { file, number: Number(number), total: Number(total) };
  });
  const [first] = numbered;
  if (!first) return files;
  const sorted = numbered.toSorted((a, b) => a.number - b.number);
  const twice = sorted.find(({ number }, i) => number === sorted[i - 1]?.number);
  if (twice || numbered.some(({ total }) => total !== first.total)) {
    const names = sorted.map(({ file }) => basename(file)).join(", ");
    throw new DataError(`${folder}: these files divide one part in two ways, leave one: ${names}`);
  }
  const there = new Set(sorted.map(({ number }) => number));
  const missing = Array.from({ length: first.total }, (_, i) => i).filter((number) => !there.has(number));
  if (missing.length > 0) {
    const digits = (number: number) => `${number}`.padStart(5, "0");
    const names = missing
      .slice(0, 10)
      .map((number) => `${partNameOf(first.file)}-${digits(number)}-of-${digits(first.total)}`);
    const more = missing.length > 10 ? ` and ${missing.length - 10} more` : "";
    throw new DataError(
      `${folder}: ${names.join(", ")}${more} of the part "${partNameOf(first.file)}" ${missing.length === 1 ? "is" : "are"} missing: put ${missing.length === 1 ? "it" : "them"} there too, or name the files to read with commas between them`,
    );
  }
  return sorted.map(({ file }) => file);
}
