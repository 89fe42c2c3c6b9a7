/** What is done about missing values: the mean of the training rows, zero, or the row is left out. */
export type Missing = "mean" | "zero" | "drop";

/** How one column of a table becomes numbers. */
export type ColumnConversion =
  | {
      readonly kind: "number";
      readonly name: string;
      /** The number for a missing value. */
      readonly missing?: number;
      /** Standardization: (v − mean)/std of the training rows. */
      readonly mean?: number;
      readonly std?: number;
    }
  | {
      readonly kind: "category";
      readonly name: string;
      /** The texts, sorted. A missing value is none of them. */
      readonly categories: readonly string[];
      /** One number (the index of the text) instead of one for each text, 1 for its own and 0 for the others. */
      readonly asIndex?: true;
    }
  | {
      readonly kind: "list";
      readonly name: string;
      readonly length: number;
      /** Tokens: shorter lists are filled up with 0, longer ones refused or cut. */
      readonly padded?: "refused" | "cut";
      /** Not the numbers of the list, but 1 for each: the attention mask of its tokens. */
      readonly counts?: true;
      /** The numbers for those that are missing, place by place. */
      readonly missing?: readonly number[];
      /** Standardization, place by place. */
      readonly mean?: readonly number[];
      readonly std?: readonly number[];
    };

/** The columns that are fed to one input, one after another. */
export interface TableInput {
  readonly name: string;
  readonly columns: readonly ColumnConversion[];
  /** Shape of one sample. */
  readonly shape: readonly number[];
}

/** How the rows of a table become samples. */
export interface TableConversion {
  readonly inputs: readonly TableInput[];
  /** The column of the labels: with classes, texts that become their index. */
  readonly label?: {
    /** Its name; those of several columns, with commas, which are one label. */
    readonly name: string;
    readonly classes?: readonly string[];
    /** Numbers of each row, where they are a list, or those of several columns. */
    readonly length?: number;
    /** Labels of tokens: shorter lists are filled up with −100, longer ones refused or cut. */
    readonly padded?: "refused" | "cut";
    /** Names of the classes whose numbers the column holds, or of the several columns. */
    readonly names?: readonly string[];
  };
  /** Further columns with labels or masks, which losses read by name. */
  readonly targets?: readonly NonNullable<TableConversion["label"]>[];
  /** Rows with missing values are left out. */
  readonly dropsMissing?: true;
}

/** A column of labels. */
export type TableLabel = NonNullable<TableConversion["label"]>;

/** How many numbers a column gives for each row. */
export function widthOf(column: ColumnConversion): number {
  if (column.kind === "category") return column.asIndex ? 1 : column.categories.length;
  return column.kind === "list" ? column.length : 1;
}
