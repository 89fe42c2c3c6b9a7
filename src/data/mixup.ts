import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import type { RandomGenerator } from "pure-rand/types/RandomGenerator";
import { UsageError } from "../errors.ts";
import { type CrossEntropyOptions, crossEntropy } from "../losses/cross-entropy.ts";
import type { Objective } from "../losses/objective.ts";
import { type AnyObjective, isCombined, isObjective } from "../losses/terms.ts";
import { checkNumber, positive } from "../numbers.ts";
import { permutation, randomStream } from "../random.ts";
import type { BatchArray, TrainingPass } from "./dataset.ts";

/** Replaces samples by mixtures: `count` samples of `width` numbers each, in the order in which they were read. */
export type Mix = (values: BatchArray, width: number) => void;

/** Draws the mixtures of the batches of a run. */
export type Mixup = (indices: ArrayLike<number>, batch: number, pass: TrainingPass) => Mix;

/**
 * Mixup (arXiv 1710.09412): each sample of a batch becomes λ times itself plus 1 − λ times another sample of the batch, its
 * label likewise. λ ~ Beta(α, α) is drawn once for a batch, partners by a random permutation, as in the authors' code and in
 * torchvision's `MixUp`. Both depend only on the seed, the epoch and the first sample of the batch.
 * @param alpha - α > 0: small values mix little
 */
export function mixup(alpha: number): Mixup {
  checkNumber("alpha of mixup", alpha, positive);
  return (indices, batch, { seed, epoch }) => {
    if (batch < 2) throw new UsageError("mixup needs two samples in a batch (--batch)");
    const drawn = Array.from({ length: Math.floor(indices.length / batch) }, (_, i) => {
      const random = randomStream("mixup", seed, epoch, indices[i * batch] ?? 0);
      return { share: betaOf(alpha, random), partners: permutation(random, batch) };
    });
    return (values, width) => {
      const numbers = values as Float32Array;
      for (const [i, { share, partners }] of drawn.entries()) {
        const first = i * batch * width;
        const others = numbers.slice(first, first + batch * width);
        for (const [row, partner] of partners.entries()) {
          for (let k = 0; k < width; k++) {
            const at = first + row * width + k;
            numbers[at] =
              share * (numbers[at] as number) + (1 - share) * (others[partner * width + k] as number);
          }
        }
      }
    };
  };
}

/** Losses whose labels are numbers that may be mixed as they are. */
const mixable = new Set(["mse", "l1", "huber", "smooth-l1", "bce", "binary-focal", "cosine", "kl"]);

/**
 * The loss that takes mixed labels: a cross-entropy reads probabilities instead of class indices, other losses stay.
 * @throws UsageError for a loss whose labels cannot be mixed
 */
export function objectiveOfMixtures(objective: AnyObjective | undefined): AnyObjective {
  // Beside a teacher, which reads the mixed samples too, the losses that read labels take mixed ones.
  if (objective && isCombined(objective) && objective.terms.some(({ teacher }) => teacher)) {
    const terms = objective.terms.map((term) =>
      term.teacher ? term : { ...term, objective: ofMixtures(term.objective) },
    );
    return { ...objective, terms };
  }
  return ofMixtures(objective);
}

function ofMixtures(objective: AnyObjective | undefined): Objective {
  const single = objective && isObjective(objective) ? objective : undefined;
  if (single?.name === "cross-entropy") {
    const options = single.options as CrossEntropyOptions;
    if (options.ignoreIndex !== "none") {
      throw new UsageError(
        `mixup mixes labels, and ${options.ignoreIndex}, which does not count (--ignore-index), is no class to mix: leave mixup out, or the samples with this label and ignoreIndex`,
      );
    }
    return crossEntropy({ ...options, labels: "probabilities" });
  }
  if (single && mixable.has(single.name)) return single;
  throw new UsageError(
    `mixup mixes the labels of a batch, which ${objective ? `the objective ${objective.name}` : "the model's own loss"} cannot take: use cross-entropy, bce or mse, or leave mixup out`,
  );
}

/** A number from Beta(α, α): X/(X + Y) of two numbers from Gamma(α). */
export function betaOf(alpha: number, random: RandomGenerator): number {
  // Logarithms, since both numbers of a small α may be too small for a double.
  const difference = logGamma(alpha, random) - logGamma(alpha, random);
  return 1 / (1 + Math.exp(-difference));
}

/** The logarithm of a number from Gamma(α), by Marsaglia and Tsang (doi 10.1145/358407.358414). */
function logGamma(alpha: number, random: RandomGenerator): number {
  // Gamma(α) = Gamma(α + 1) · u^(1/α).
  if (alpha < 1) return logGamma(alpha + 1, random) + Math.log(above0(random)) / alpha;
  const d = alpha - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(random);
    const v = (1 + c * x) ** 3;
    const u = above0(random);
    if (v > 0 && Math.log(u) < x ** 2 / 2 + d - d * v + d * Math.log(v)) return Math.log(d * v);
  }
}

/** A number from the normal distribution, by Box and Muller. */
const normal = (random: RandomGenerator): number =>
  Math.sqrt(-2 * Math.log(above0(random))) * Math.cos(2 * Math.PI * uniformFloat64(random));

/** A uniform number above 0. */
const above0 = (random: RandomGenerator): number => 1 - uniformFloat64(random);
