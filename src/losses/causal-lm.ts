import { SorthError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { dimAt, type Shape, shapeText } from "../graph/shapes.ts";
import { madeHere } from "../made-here.ts";
import { crossEntropy } from "./cross-entropy.ts";
import { type LabelMaker, type Objective, withDefaults } from "./objective.ts";

/** The label of a token that does not count, as in Hugging Face's libraries. */
export const uncounted = -100;

/** Options of {@link causalLm}. */
export interface CausalLmOptions {
  /** Share of the target that is spread evenly over all tokens, 0 (default) to 1. */
  readonly labelSmoothing?: number;
  /** A weight for each token, as {@link CrossEntropyOptions.classWeights}. Default "none". */
  readonly classWeights?: readonly number[] | string;
}

const name = "causal-lm";

/**
 * Next token: the cross-entropy of `logits` `[N, T, tokens]` at place t with the token at place t + 1, the mean over all
 * tokens that count. Labels `[N, T]` are tokens at their own place and are shifted in the graph, as in Hugging Face's
 * models; −100 marks those that do not count. Data without labels get them from their tokens (`input_ids`), where
 * `attention_mask` is not 0. A mask `[N, T]` stands beside the tokens as labels do: the tokens where it is above 0 are learned,
 * such as those of an answer.
 *
 * @throws UsageError for an unknown option or a value out of range
 *
 * @example
 * await Trainer.create(model, { objective: causalLm(), dims: { sequence_length: 128 } });
 */
export function causalLm(options: CausalLmOptions = {}): Objective {
  const kept = withDefaults<CausalLmOptions>(name, { labelSmoothing: 0, classWeights: "none" }, options);
  const each = crossEntropy({ ...kept, classAxis: -1, ignoreIndex: uncounted });
  const { injected, options: checked } = each;
  return madeHere({
    ...each,
    ...{ name, options: { ...kept, classWeights: checked.classWeights as string }, perplexity: true },
    labels: {
      type: "int32",
      shape: (prediction) => tokensOf(name, prediction, 2),
      own: () => tokensAsLabels,
    },
    build: (g, prediction, labels, mask) => {
      const counted = mask ? g.where(g.greater(mask, 0), labels, uncounted) : labels;
      return each.build(g, prediction, nextTokens(g, counted));
    },
    ...(injected && {
      injected: {
        ...injected,
        build: (g: Emit, prediction: Typed, labels: Typed) => {
          tokensOf(name, prediction.shape, 2);
          return injected.build(g, prediction, nextTokens(g, labels));
        },
      },
    }),
    evaluate: (predictions, labels, rows, shape, mask) => {
      const counted = (at: number) => !mask || (mask[at] ?? 0) > 0;
      const kept = Float64Array.from(labels, (label, at) => (counted(at) ? label : uncounted));
      return each.evaluate(predictions, shifted(kept, dimAt(shape, 1)), rows, shape);
    },
  });
}

/** The shape of the labels, [N, T]. @throws SorthError for scores of another shape, or of fewer places */
export function tokensOf(loss: string, prediction: Shape, least: number): Shape {
  if (prediction.length === 3 && dimAt(prediction, 1) >= least && dimAt(prediction, 2) > 1) {
    return prediction.slice(0, 2);
  }
  const places = least > 1 ? ` with ${least} places or more` : "";
  throw new SorthError(
    `${loss} needs logits of shape [samples, places, tokens]${places}; the prediction has shape ${shapeText(prediction)}: name the logits (--prediction)`,
  );
}

const tokensAsLabels: LabelMaker = {
  replacesTokens: false,
  make: ({ tokens, attention, labels }) => {
    for (let at = 0; at < tokens.length; at++) {
      labels[at] = attention?.[at] === 0 ? uncounted : (tokens[at] as number);
    }
  },
};

/** Labels [N, T], one place to the left; nothing follows the last place. Without a length, which a file may leave free. */
function nextTokens(g: Emit, labels: Typed): Typed {
  const length = dimAt(labels.shape, 1);
  const next = g.op(
    "Slice",
    // Starts, ends and axes
    [labels, ...[1, 2147483647, 1].map((number) => g.int64s([number]))],
    [dimAt(labels.shape, 0), length - 1],
  );
  const first = g.slice(labels, [{ axis: 1, start: 0, length: 1 }]);
  return g.concat([next, g.add(g.mul(first, 0), uncounted)], 1);
}

function shifted(labels: ArrayLike<number>, places: number): Float64Array {
  return Float64Array.from(labels, (_, at) =>
    at % places === places - 1 ? uncounted : (labels[at + 1] as number),
  );
}
