import { checkFields, checkList } from "../check-arguments.ts";
import { UsageError } from "../errors.ts";
import { checkNumber, notNegative } from "../numbers.ts";
import type { LossModel } from "./loss-model.ts";
import type { Objective } from "./objective.ts";
import type { OwnLoss } from "./own-loss.ts";

/** One of the losses that {@link combined} adds up. */
export interface LossTerm {
  readonly objective: Objective | OwnLoss | LossModel;
  /** Its name in events and figures; default that of its output, else of the objective. A second one is `name.2`. */
  readonly name?: string;
  /** The value that it reads, an output or an inner value of the model; default: the first float output. */
  readonly output?: string;
  /**
   * The array with its labels, by name; default: the labels of the dataset. The name of one of the model's inputs stands for
   * that input, which an autoencoder is to return.
   */
  readonly labels?: string;
  /**
   * The array (or input of the model) that says which places count, such as `attention_mask`: above 0 they do. The mean is
   * over these places. It has the labels' shape or, where labels hold a vector or probabilities at each place (`[N, T, units]`),
   * that shape without this axis: `[N, T]`.
   */
  readonly mask?: string;
  /** Factor in the sum; default 1. */
  readonly weight?: number;
  /**
   * Beside a teacher (the option `teacher`): the teacher's value that takes the place of labels, an output or an inner value; `true`
   * for the output of the same name, else its first float output; `false` for labels of the data. Default: `true` for a
   * distillation and, where `labels` is absent, for other losses whose labels are numbers or probabilities.
   */
  readonly teacher?: string | boolean;
}

/** A term with its name and weight decided. */
export interface NamedTerm extends LossTerm {
  readonly name: string;
  readonly weight: number;
}

/** A weighted sum of losses, from {@link combined}. */
export interface CombinedObjective {
  readonly name: "combined";
  readonly terms: readonly NamedTerm[];
}

/** Everything that can be minimized: one loss, one of the user's own, or a sum of losses. */
export type AnyObjective = LossTerm["objective"] | CombinedObjective;

export const isCombined = (objective: AnyObjective): objective is CombinedObjective => "terms" in objective;

export const isLossModel = (objective: AnyObjective): objective is LossModel => "model" in objective;

/** Whether a loss also computes figures on numbers, beside the graph. */
export const isObjective = (objective: AnyObjective): objective is Objective => "evaluate" in objective;

/** Whether a loss reads embeddings. */
export const isOfEmbeddings = (
  objective: AnyObjective,
): objective is Objective & Required<Pick<Objective, "embeds">> =>
  isObjective(objective) && objective.embeds !== undefined;

/**
 * The weighted sum Σ weight · loss over several outputs of a model, each with its own labels. Events and evaluations report
 * every loss by name, without its weight, beside the sum.
 *
 * @throws UsageError without a term, for a weight below 0, and for a mask that a loss does not take
 * @example
 * const objective = combined([
 *   { objective: crossEntropy(), output: "logits", labels: "y_class" },
 *   { objective: huber(), output: "box", labels: "y_box", weight: 0.5 },
 * ]);
 */
export function combined(terms: readonly LossTerm[]): CombinedObjective {
  checkList("the losses of a combined objective", terms);
  for (const term of terms) {
    checkFields("a loss of a combined objective is { objective, output, … }", term, "objective");
    checkFields("an objective is what crossEntropy() or another loss gives", term.objective, "name");
  }
  if (terms.length === 0) throw new UsageError("a combined objective needs at least one loss");
  const taken = new Map<string, number>();
  return {
    name: "combined",
    terms: terms.map((term) => {
      const { objective, output, mask, weight = 1 } = term;
      const stem = term.name ?? output ?? objective.name;
      const count = (taken.get(stem) ?? 0) + 1;
      taken.set(stem, count);
      checkNumber(`the weight of the loss ${stem}`, weight, notNegative);
      if (mask !== undefined && !(isObjective(objective) && objective.maskShape)) {
        throw new UsageError(`the loss ${objective.name} takes no mask ("${mask}"): leave it out`);
      }
      return { ...term, name: count === 1 ? stem : `${stem}.${count}`, weight };
    }),
  };
}

/** The losses of an objective; that of a single one reads `output`. */
export function termsOf(objective: AnyObjective, output?: string): readonly NamedTerm[] {
  checkFields("an objective is what crossEntropy(), combined([…]) or another loss gives", objective, "name");
  return isCombined(objective)
    ? objective.terms
    : [{ objective, name: objective.name, weight: 1, ...(output !== undefined && { output }) }];
}
