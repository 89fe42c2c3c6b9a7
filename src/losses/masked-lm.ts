import { uniformFloat32 } from "pure-rand/distribution/uniformFloat32";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { DataError, UsageError } from "../errors.ts";
import { dimAt } from "../graph/shapes.ts";
import { madeHere } from "../made-here.ts";
import { checkNumber, countFromZero, decimal, properShare } from "../numbers.ts";
import { tokensOf, uncounted } from "./causal-lm.ts";
import { crossEntropy } from "./cross-entropy.ts";
import { type LabelMaker, type Objective, type TokenSample, withDefaults } from "./objective.ts";

/** Options of {@link maskedLm}. */
export interface MaskedLmOptions {
  /** The token `[MASK]` of the tokenizer; "none" (default) for data that hold labels. */
  readonly maskToken?: number | "none";
  /** Share of the tokens that are predicted, above 0 and below 1; default 0.15. */
  readonly probability?: number;
  /** Tokens that are never masked, such as `[CLS]`, `[SEP]` and `[PAD]`: `[0, 101, 102]`, or the same as text, `0,101,102`. */
  readonly specialTokens?: readonly number[] | string;
  /** Share of the target that is spread evenly over all tokens, 0 (default) to 1. */
  readonly labelSmoothing?: number;
  /** A weight for each token, as {@link CrossEntropyOptions.classWeights}. Default "none". */
  readonly classWeights?: readonly number[] | string;
}

const name = "masked-lm";
const defaults: Required<MaskedLmOptions> = {
  ...{ maskToken: "none", probability: 0.15, specialTokens: "none", labelSmoothing: 0 },
  classWeights: "none",
};

/**
 * Masked tokens: the cross-entropy of `logits` `[N, T, tokens]` with labels `[N, T]` at the same place, the mean over all
 * labels but −100. Data without labels are masked as Hugging Face's DataCollatorForLanguageModeling does: of the tokens
 * chosen with `probability`, 80 % become the mask token, 10 % a token at random, 10 % stay. Which ones depends on the seed
 * of the run, the epoch and the sample; an evaluation always masks the same ones. Padding and special tokens are never chosen.
 *
 * @throws UsageError for an unknown option or a value out of range
 *
 * @example
 * await Trainer.create(model, { objective: maskedLm({ maskToken: 103, specialTokens: [0, 101, 102] }) });
 */
export function maskedLm(options: MaskedLmOptions = {}): Objective {
  const kept = withDefaults<MaskedLmOptions>(name, defaults, options);
  const { maskToken, probability, labelSmoothing, classWeights } = kept;
  checkNumber("probability of the masked-lm", probability, properShare);
  if (maskToken !== "none") checkNumber("maskToken of the masked-lm", maskToken, countFromZero);
  // Options are kept as text in files and checkpoints.
  const specialTokens =
    typeof kept.specialTokens === "object" ? kept.specialTokens.join() : `${kept.specialTokens}`;
  const special = new Set(tokensIn(specialTokens));
  const each = crossEntropy({ labelSmoothing, classWeights, classAxis: -1, ignoreIndex: uncounted });
  const weights = each.options.classWeights as string;
  return madeHere({
    ...each,
    ...{ name, options: { ...kept, specialTokens, classWeights: weights }, perplexity: true },
    labels: {
      type: "int32",
      shape: (prediction) => tokensOf(name, prediction, 1),
      own: (prediction) => masking({ maskToken, probability, special, tokens: dimAt(prediction, 2) }),
    },
  });
}

function tokensIn(text: string): number[] {
  if (text === "none" || text.trim() === "") return [];
  const tokens = text.split(",").map(decimal);
  const wrong = tokens.findIndex((token) => !countFromZero.holds(token));
  if (wrong < 0) return tokens;
  throw new UsageError(`specialTokens of the masked-lm are numbers of tokens with commas, not "${text}"`);
}

/** Shares of the chosen tokens: those that become the mask token, and those that become it or a token at random. */
const [masked, changed] = [0.8, 0.9];

/** @param tokens - the number of tokens that the model knows */
function masking({
  maskToken,
  probability,
  special,
  tokens: known,
}: {
  readonly maskToken: number | "none";
  readonly probability: number;
  readonly special: ReadonlySet<number>;
  readonly tokens: number;
}): LabelMaker {
  const make = ({ tokens, attention, labels, random }: TokenSample) => {
    if (maskToken === "none") {
      throw new DataError(
        "the data hold no labels, and masked-lm masks tokens only if it knows the mask token: give it (--objective masked-lm:mask-token=103, or --tokenizer), or save labels with -100 at the places that are not masked",
      );
    }
    for (let at = 0; at < tokens.length; at++) {
      const token = tokens[at] as number;
      // The same numbers are drawn for every place, so that one token does not decide about those behind it.
      const [choice, kind, other] = [
        uniformFloat32(random),
        uniformFloat32(random),
        uniformInt(random, 0, known - 1),
      ];
      const chosen = choice < probability && attention?.[at] !== 0 && !special.has(token);
      labels[at] = chosen ? token : uncounted;
      if (chosen && kind < masked) tokens[at] = maskToken;
      else if (chosen && kind < changed) tokens[at] = other;
    }
  };
  return { replacesTokens: true, make };
}
