import type { DimensionOptions } from "../../analysis/dimensions.ts";
import type { ExternalReader } from "../../onnx/tensor.ts";

/** Options of the pass `expand-bodies`. */
export interface ExpandOptions {
  /** Sizes of the graph's free dimensions. */
  readonly dimensions: DimensionOptions;
  /** Names of parameters: a value that is computed from them is no constant. */
  readonly keep: ReadonlySet<string>;
  /** Reads tensors of bodies that lie in other files. */
  readonly external?: ExternalReader | undefined;
}

/** The defaults of {@link ExpandOptions}. */
export const expandOptions: ExpandOptions = { dimensions: {}, keep: new Set() };
