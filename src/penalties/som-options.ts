/** Options of SOM. The defaults are those of the source, with means in place of sums. */
export type SomOptions = {
  /** Weight of the squared mean (or sum) of the cosines; 100. */
  readonly lambda1: number;
  /** Weight of the mean (or sum) of the squared cosines; 1. */
  readonly lambda2: number;
  /** Steepness of tanh(γY), which stands for the sign of a response; 10. */
  readonly gamma: number;
  /**
   * "mean" over the pairs of units, or "sum" as printed in the source. Sums grow with the fourth power of the units
   * (9.5e6 for a 784-512-256-10 network) and break training.
   */
  readonly reduction: "mean" | "sum";
};

/**
 * Added to every squared norm Kᵢᵢ = Σ tanh², and the least Kᵢᵢ of a unit that counts as alive. It lies below the float32
 * resolution of any Kᵢᵢ above 16 and bounds 1/nᵢ by 1,000. Without the threshold a unit whose response is exactly 0 would
 * get the gradient S·T/(n·√ε), some thousand times that of its neighbours.
 */
export const epsilon = 1e-6;
