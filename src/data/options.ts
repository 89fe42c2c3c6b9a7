import type { Model } from "../onnx/model.ts";
import type { DataConversion } from "./conversion.ts";
import type { Augmentation } from "./images/augment.ts";
import type { Missing } from "./tables/conversion.ts";
import type { Truncation } from "./text/tokenizer.ts";

/** How data on a disk become samples, see {@link loadData}. */
export interface DataOptions {
  /** The model to feed: images get the size of its input, columns of a table go to the inputs of their names. */
  readonly model?: Model | undefined;
  /** Lengths of the model's free dimensions, by their name in the file. */
  readonly dims?: Readonly<Record<string, number>> | undefined;
  /** How the data of a trained model were converted: other data are converted alike. `label`, `text`, `length` and `resize` take the place of what it says; others that contradict it are refused. */
  readonly conversion?: DataConversion | undefined;
  /** Tables: the column of the labels, or several with commas, which are one label of as many numbers; default: the one with a usual name (y, label, target, …). */
  readonly label?: string | undefined;
  /** The names of the model's classes in their order, which labels that are names get; default: the names that {@link model} got with its last layer, else alphabetical. */
  readonly classes?: readonly string[] | undefined;
  /** Tables: further columns with labels or masks, which losses read by name. */
  readonly targets?: readonly string[] | undefined;
  /** Tables: the columns to feed; default: all but the labels. */
  readonly columns?: readonly string[] | undefined;
  /** Tables: what is done about missing values; default: they are refused. */
  readonly missing?: Missing | undefined;
  /** Tables: subtract the mean of each column of numbers and divide by its standard deviation (of the training rows). */
  readonly standardize?: boolean | undefined;
  /** Texts (`.txt`, or a column of a table): the folder of the tokenizer, with `tokenizer.json`. */
  readonly tokenizer?: string | undefined;
  /** Texts: tokens of one sample; default: as many as the model's file fixes. */
  readonly length?: number | undefined;
  /** Texts in a table: their column; default: `text`, or the only one beside the labels. Several with commas. */
  readonly text?: string | undefined;
  /** Texts in a table, several columns: whether they stay sequences of their own for a loss of embeddings; default: a pair in one, but those called anchor, positive and negative stay apart. */
  readonly apart?: boolean | undefined;
  /** Texts in a table: which tokens of a sample that is too long are left out; default `longest-first`. */
  readonly truncation?: Truncation | undefined;
  /** Texts in a table: whether they are joined and cut in blocks, and labels are not read; default: only without labels. */
  readonly languageModel?: boolean | undefined;
  /** Images: `crop` (default) keeps the middle of the model's proportions, `stretch` the whole image. */
  readonly resize?: "crop" | "stretch" | undefined;
  /** Random changes of images while training; other readers get the images as they are. */
  readonly augment?: Augmentation | undefined;
  /** The share of the samples that will be held out for validation: means are computed without it. */
  readonly validation?: number | undefined;
  /** Seed of the run, which decides what is held out. */
  readonly seed?: number | undefined;
}
