import type { TableConversion } from "../tables/conversion.ts";
import type { TokenizerFacts, Truncation } from "./tokenizer.ts";

/** How texts become tokens. */
export interface TextConversion extends TokenizerFacts {
  /** Folder of the tokenizer, and a checksum of its `tokenizer.json`. */
  readonly tokenizer: string;
  readonly checksum: string;
  /** Tokens of one sample. */
  readonly length: number;
  /** `blocks`: all documents joined and cut in blocks; `rows`: each row of a table is a sample, cut or padded. */
  readonly samples: "blocks" | "rows";
  /** Tables: the column of the texts. */
  readonly column?: string;
  /** Tables: the columns of several texts, in place of `column`: a pair in one sequence, unless they stay apart. */
  readonly columns?: readonly string[];
  /** The texts of a row stay sequences of their own, beside each other, for losses of embeddings. */
  readonly apart?: true;
  /** Which tokens of a sample that is too long are left out; default `longest-first`. */
  readonly truncation?: Truncation;
  /** Tables: the column of the labels. */
  readonly label?: NonNullable<TableConversion["label"]>;
}
