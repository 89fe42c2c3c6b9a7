import { notWhole } from "./define.ts";

/**
 * Options of SOM. Experiments show that the defaults are safe on every layer, including the last one. The preset `source` has
 * the paper's values.
 */
export type SomOptions = {
  /** Weight of the squared mean (or sum) of the cosines; default 0. */
  readonly lambda1: number;
  /** Weight of the mean (or sum) of the squared cosines; default 1. */
  readonly lambda2: number;
  /** Steepness of tanh(γY), which approximates the sign of a response; default 10. */
  readonly gamma: number;
  /**
   * "mean" over the pairs of units, or "sum" as printed in the paper. Sums grow with the fourth power of the number of units
   * (9.5e6 for a 784-512-256-10 network) and break training.
   */
  readonly reduction: "mean" | "sum";
  /**
   * The rows over which units are compared: "batch" uses their responses; "random" uses their products with random
   * directions, of which training draws new ones each epoch. With "random" the gradient goes only to the weight.
   */
  readonly rows: "batch" | "random";
  /** Number of random directions; default 256. */
  readonly directions: number;
  /** Largest number of positions used of each sample, a seeded choice shared by all samples; 0 (default) for all. */
  readonly maxRows: number;
  /** Whether each unit's mean over the rows is subtracted from its responses; default false. */
  readonly center: boolean;
  /** "rms": divide each unit's responses by their root mean square, which is constant in the gradient. */
  readonly scale: "none" | "rms";
  /** "remove": subtract the layer's bias from its responses. */
  readonly bias: "keep" | "remove";
  /** How the angle between two units is measured: from their "responses", or as the exact angle of their "weights". */
  readonly angles: "responses" | "weights";
  /** Seed of the directions and of the choice of positions; default 0. */
  readonly seed: number;
};

/**
 * Added to every squared norm Kᵢᵢ = Σ tanh², and the smallest Kᵢᵢ of a unit that counts as alive. It is below the float32
 * resolution of any Kᵢᵢ above 16, and bounds 1/nᵢ by 1,000. Without the threshold, a unit whose response is exactly 0 would
 * get the gradient S·T/(n·√ε), about a thousand times that of its neighbours.
 */
export const epsilon = 1e-6;

/** How weight vectors are normalised for exact angles; units whose weights are all 0 have no angles. */
export const weightNormalization = { added: 0, least: 1e-30 } as const;

/**
 * How much a unit's responses must vary: if centring leaves no more than this share of their mean square, the rest is float32
 * rounding error (a unit with zero weights and a bias) and counts as 0. The same share is added to the mean square by whose
 * root responses are divided, so that this root never consists of rounding errors either.
 */
export const leastVariation = 1e-12;

/** Also added to that mean square, so that a unit whose responses are 0 stays at 0. */
export const leastMeanSquare = 1e-30;

/** Defaults of {@link SomOptions}. */
export const somDefaults: SomOptions = {
  ...{ lambda1: 0, lambda2: 1, gamma: 10, reduction: "mean" },
  ...{ rows: "batch", directions: 256, maxRows: 0, center: false, scale: "none", bias: "keep" },
  ...{ angles: "responses", seed: 0 },
};

/** SOM's default weight in the loss. */
export const somWeight = 0.1;

/** The paper's values (arXiv 2001.01275 as derived in kexue.fm/archives/7169), with means instead of its sums. */
export const somSource = { lambda1: 100, lambda2: 1, gamma: 10, weight: 1 } as const;

/** Describes values out of range or options that contradict each other; undefined if there are none. */
export function somProblem(options: SomOptions): string | undefined {
  const { lambda1, lambda2, gamma, directions, maxRows, seed } = options;
  if (lambda1 < 0 || lambda2 < 0) return "lambda1 and lambda2 must not be negative";
  if (gamma <= 0) return `gamma must be above 0, not ${gamma}`;
  const broken = notWhole({ directions }, 2) ?? notWhole({ maxRows }, 0) ?? notWhole({ seed }, 0);
  if (broken) return broken;
  const given = (names: readonly (keyof SomOptions)[]) =>
    names.filter((name) => options[name] !== somDefaults[name]);
  const clash = (form: string, names: readonly (keyof SomOptions)[], why: string) => {
    const wrong = given(names);
    return wrong.length > 0 ? `${form} ${why}; leave ${wrong.join(", ")} out` : undefined;
  };
  const ofResponses = ["maxRows", "center", "bias"] as const;
  if (options.angles === "weights") {
    const others = ["gamma", "rows", "directions", "scale", "seed", ...ofResponses] as const;
    return clash("angles=weights", others, "reads no responses");
  }
  if (options.rows === "random") {
    return clash("rows=random", ofResponses, "reads no responses, and its directions have no mean");
  }
  if (options.center && options.bias === "remove") return "center removes the bias already; leave bias out";
  if (maxRows === 0) return clash("rows=batch", ["directions", "seed"], "draws no directions");
  return clash("rows=batch", ["directions"], "draws no directions");
}
