import type { DataConversion } from "./conversion.ts";
import type { Dataset } from "./dataset.ts";

/** A dataset with the split of its source. */
export interface SplitData {
  readonly train: Dataset;
  /** Samples that the source holds out for validation. */
  readonly validation?: Dataset;
  /** Undefined if the source has no test samples. */
  readonly test: Dataset | undefined;
  /** Messages for the user about how the source was read. */
  readonly remarks?: readonly string[];
  /** How the source was converted; a model that is trained on it keeps it. */
  readonly conversion?: DataConversion;
}
