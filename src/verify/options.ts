import type { DimensionOptions } from "../analysis/dimensions.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { Penalty } from "../penalties/penalty.ts";

/** On what a pair of models is compared. */
export interface VerifyOptions extends DimensionOptions {
  /** Data for the inputs, by name. Others get seeded random numbers (integers 0 and 1). */
  readonly feeds?: ReadonlyMap<string, Tensor>;
  /** Seed of random data and directions; default 1. */
  readonly seed?: number;
  /**
   * Thousand millions of multiplications that float64 references may take; 0 for no bound. Default 12, some 10 seconds on one
   * core: the values of the smaller layers come first, and the report says which layers were left out for their size.
   */
  readonly budget?: number;
  /** Penalties of the user's own that the model was injected with. */
  readonly penalties?: readonly Penalty[];
}
