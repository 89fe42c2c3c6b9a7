import type { Command } from "commander";
import { attention } from "../data/buckets.ts";
import type { Dataset } from "../data/dataset.ts";
import { UsageError } from "../errors.ts";
import { positiveInteger } from "./options.ts";

/** Lengths of buckets; `auto`: powers of two. */
export type BucketsFlag = readonly number[] | "auto";

/** The shortest bucket of `auto`. */
const shortest = 16;

/** Declares the flag that puts texts of like lengths into batches of their own. */
export function addBucketsFlag(command: Command): void {
  command.option(
    "--buckets <lengths>",
    `texts and lists of tokens: each batch holds samples of like lengths, and only as many places as the first of these lengths that has room for them, as in 32,64; samples that are longer have --length; auto: powers of two from ${shortest} on`,
    (text: string) => (text === "auto" ? text : text.split(",").map(positiveInteger)),
  );
}

/** The lengths of the buckets for samples; the last is theirs. @throws UsageError for samples without padding */
export function bucketsFor(flag: BucketsFlag, data: Dataset | undefined): readonly number[] {
  if (!data) throw new UsageError("--buckets needs the lengths of the samples: give --data too");
  const length = data.inputs?.get(attention)?.shape.at(-1);
  if (length === undefined) {
    throw new UsageError(
      `${data.name}: --buckets belongs to rows of a table with texts of different lengths, and these samples have no padding: leave it out`,
    );
  }
  if (flag === "auto") {
    const powers = Array.from({ length: 32 }, (_, power) => shortest * 2 ** power);
    return [...powers.filter((power) => power < length), length];
  }
  const longer = flag.find((one) => one > length);
  if (longer !== undefined) {
    throw new UsageError(
      `--buckets ${flag.join()}: samples have ${length} tokens, so that none has ${longer}: leave ${longer} out, or give --length ${longer}`,
    );
  }
  return flag.at(-1) === length ? flag : [...flag, length];
}
