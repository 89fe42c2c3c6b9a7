import { notWhole } from "./define.ts";

/**
 * Options of SOM. The defaults are what experiments show safe on every layer, the last one included; the source's own values
 * are under the preset `source`.
 */
export type SomOptions = {
  /** Weight of the squared mean (or sum) of the cosines; 0. */
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
  /**
   * Over which rows units are compared: "batch", their responses; "random", what they make of random directions, which
   * training draws anew each epoch. The gradient then goes to the weight alone.
   */
  readonly rows: "batch" | "random";
  /** How many random directions; 256. */
  readonly directions: number;
  /** At most so many positions of each sample, a seeded choice that all samples share; 0 (default) for all. */
  readonly maxRows: number;
  /** Whether each unit's mean over the rows is subtracted from its responses; false. */
  readonly center: boolean;
  /** "rms": each unit's responses are divided by their root mean square, which counts as constant in the gradient. */
  readonly scale: "none" | "rms";
  /** "remove": the layer's bias is subtracted from its responses. */
  readonly bias: "keep" | "remove";
  /** What stands for the angle between two units: their "responses", or the exact angle of their "weights". */
  readonly angles: "responses" | "weights";
  /** Seed of the directions and of the choice of positions; 0. */
  readonly seed: number;
};

/**
 * Added to every squared norm Kᵢᵢ = Σ tanh², and the least Kᵢᵢ of a unit that counts as alive. It lies below the float32
 * resolution of any Kᵢᵢ above 16 and bounds 1/nᵢ by 1,000. Without the threshold a unit whose response is exactly 0 would
 * get the gradient S·T/(n·√ε), some thousand times that of its neighbours.
 */
export const epsilon = 1e-6;

/** How weight vectors are normalised for their exact angles: units whose weights are all 0 have no angles. */
export const weightNormalization = { added: 0, least: 1e-30 } as const;

/**
 * How far a unit's responses have to differ from their mean: centred responses whose mean square is not above so much of the
 * mean square before are the rounding errors of float32 (a unit with zero weights and a bias), and count as 0. The same share
 * is added to the mean square whose root responses are divided by, so that this root is never made of rounding errors either.
 */
export const leastVariation = 1e-12;

/** Added to that mean square besides: a unit whose responses are 0 stays at 0. */
export const leastMeanSquare = 1e-30;

/** Defaults of {@link SomOptions}. */
export const somDefaults: SomOptions = {
  ...{ lambda1: 0, lambda2: 1, gamma: 10, reduction: "mean" },
  ...{ rows: "batch", directions: 256, maxRows: 0, center: false, scale: "none", bias: "keep" },
  ...{ angles: "responses", seed: 0 },
};

/** SOM's weight in the loss where none is given. */
export const somWeight = 0.1;

/** The values of the source (arXiv 2001.01275 as derived in kexue.fm/archives/7169), with means in place of its sums. */
export const somSource = { lambda1: 100, lambda2: 1, gamma: 10, weight: 1 } as const;

/** What is wrong with options, or undefined: values out of range, and forms that make no sense together. */
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
