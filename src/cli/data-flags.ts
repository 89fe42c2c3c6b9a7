import { type Command, InvalidArgumentError, Option } from "commander";
import type { Missing } from "../data/conversion.ts";
import {
  type Augmentation,
  augmentationDefaults,
  cropRange,
  properShareOrOne,
} from "../data/images/augment.ts";
import { imagenet, type Normalization } from "../data/normalize.ts";
import { type Truncation, truncations } from "../data/text/tokenizer.ts";
import { UsageError } from "../errors.ts";
import { type NumberRange, positive } from "../numbers.ts";
import { addBucketsFlag, type BucketsFlag } from "./bucket-flag.ts";
import { positiveInteger, typedOptions } from "./options.ts";

/** Flags of the commands that read data. */
export interface DataFlags {
  /** `data`: mean and standard deviation of the training samples. */
  readonly normalize?: Normalization | "data";
  readonly label?: string;
  readonly columns?: readonly string[];
  readonly missing?: Missing;
  readonly standardize?: true;
  readonly resize?: "crop" | "stretch";
  readonly tokenizer?: string;
  readonly length?: number;
  readonly text?: string;
  readonly truncation?: Truncation;
}

export interface TrainingDataFlags extends DataFlags {
  readonly augment?: AugmentFlags;
  readonly buckets?: BucketsFlag;
}

/** Changes of samples while training: those of images, and mixup's α. */
type AugmentFlags = Augmentation & { readonly mixup?: number };

/** Declares the flags that determine how data are read, and returns their names. */
export function addDataFlags(command: Command): string[] {
  const before = command.options.length;
  command
    .option(
      "--normalize <how>",
      "scaling of pixels: 0..1 divides them by 255, none leaves them unchanged; imagenet, mean=0.5,std=0.25 (or mean=0.5/0.4/0.4,std=… by channel) and data (computed from the training samples) also subtract a mean and divide by a standard deviation (default: 0..1 for bytes up to 255, unless the model scales them itself)",
      normalization,
    )
    .option(
      "--label <column>",
      "tables: the column of the labels (default: the one called y, label, target or the like); several with commas are one label of as many numbers",
    )
    .option(
      "--columns <names>",
      "tables: the columns to feed, with commas (default: all but the label)",
      names,
    )
    .addOption(
      new Option(
        "--missing <how>",
        "tables: replace missing numbers by the column's mean or by zero, or drop their rows (default: refuse them)",
      ).choices(["mean", "zero", "drop"]),
    )
    .option(
      "--standardize",
      "tables: subtract from each column of numbers its mean over the training rows, and divide by its standard deviation",
    )
    .addOption(
      new Option(
        "--resize <how>",
        "images: crop keeps the middle of the image, stretch the whole image (default: crop)",
      ).choices(["crop", "stretch"]),
    )
    .option(
      "--tokenizer <folder>",
      "texts (.txt, or a column of a table): the folder with tokenizer.json; evaluate and predict find that of the training run",
    )
    .option(
      "--length <tokens>",
      "texts and lists of tokens: tokens of one sample (default: as many as the model fixes, or as the longest row of a table has)",
      positiveInteger,
    )
    .option(
      "--text <column>",
      "texts in a table: their column (default: text, or the only one beside the label); two with a comma are a pair, as question,answer",
    )
    .addOption(
      new Option(
        "--truncation <how>",
        "texts in a table: which text of a pair is cut where both are longer than --length (default: longest-first)",
      ).choices(truncations),
    );
  return command.options.slice(before).map((option) => option.attributeName());
}

/** Declares {@link addDataFlags} and the flags of data to train on, and returns their names. */
export function addTrainingDataFlags(command: Command): string[] {
  const names = addDataFlags(command);
  command.option(
    "--augment <changes>",
    "random changes while training, with commas, as in flip,crop=4,color=0.2,mixup=0.2; of images: flip mirrors, crop shifts by up to that many pixels (crop=0.125: cuts a window out of the image enlarged by that share), color changes brightness, contrast and saturation by up to that share; of any data: mixup mixes samples and labels of a batch with shares from Beta(α, α)",
    augmentation,
  );
  addBucketsFlag(command);
  // A resumed run takes the tokenizer from another folder; it must be the same one.
  return [...names.filter((name) => name !== "tokenizer"), "augment", "buckets"];
}

/**
 * @param names - of flags that say how data are read
 * @throws UsageError for one of them in a call without data
 */
export function checkHasData(command: Command, names: readonly string[], instead: string): void {
  const found = typedOptions(command, names);
  if (command.getOptionValueSource("data") === "cli" || found.length === 0) return;
  throw new UsageError(`${found.map(({ long }) => long).join(", ")}: give --data too; ${instead}`);
}

const names = (text: string): string[] => text.split(",").map((name) => name.trim());

function normalization(text: string): Normalization | "data" {
  if (text === "0..1" || text === "none" || text === "data") return text;
  if (text === "imagenet") return imagenet;
  const [, means, stds] = /^mean=([^,]+),std=([^,]+)$/.exec(text) ?? [];
  const [mean, std] = [means, stds].map((list) => (list ?? "").split(/[/;]/).map(Number)) as [
    number[],
    number[],
  ];
  const fits = means !== undefined && mean.length === std.length && [...mean, ...std].every(Number.isFinite);
  if (fits && std.every((one) => one > 0)) return { mean, std };
  throw new InvalidArgumentError(
    "Give 0..1, none, imagenet, data, or mean=…,std=… with one number or one for each channel (mean=0.5/0.4/0.4).",
  );
}

/** The numbers that changes take; undefined for a change without one. */
const strengths: Readonly<Record<string, NumberRange | undefined>> = {
  flip: undefined,
  crop: cropRange,
  color: properShareOrOne,
  mixup: positive,
};

function augmentation(text: string): AugmentFlags {
  const given: Record<string, number | true> = {};
  for (const part of names(text)) {
    const [name = "", strength, ...more] = part.split("=");
    const range = strengths[name];
    const value = strength === undefined ? augmentationDefaults[name as "crop" | "color"] : Number(strength);
    if (!Object.hasOwn(strengths, name) || more.length > 0 || (!range && strength !== undefined)) {
      throw new InvalidArgumentError(
        `"${part}" is none of flip, crop=PIXELS, crop=SHARE, color=SHARE, mixup=ALPHA.`,
      );
    }
    if (range && !(value !== undefined && range.holds(value))) {
      throw new InvalidArgumentError(`"${part}": ${name} takes ${range.words}.`);
    }
    given[name] = range && value !== undefined ? value : true;
  }
  return given;
}
