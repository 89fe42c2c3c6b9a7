import type { DimensionOptions } from "../analysis/dimensions.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { Penalty } from "../penalties/penalty.ts";

/** How a pair of models is compared. */
export interface VerifyOptions extends DimensionOptions {
  /** Data for the inputs, by name. Inputs without data get seeded random numbers (integers: 0 and 1). */
  readonly feeds?: ReadonlyMap<string, Tensor>;
  /** Seed of random data and directions; default 1. */
  readonly seed?: number;
  /**
   * Limit for the float64 references, in billions of multiplications; 0 for no limit. Default 12, about 10 seconds on one
   * core. Smaller layers come first, and the report lists the layers that were left out for their size.
   */
  readonly budget?: number;
  /** The caller's own penalties that were injected into the model. */
  readonly penalties?: readonly Penalty[];
}
