import { stepPrefix } from "../analysis/block-nodes.ts";
import { UsageError } from "../errors.ts";
import { given } from "../given.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { sameShape, shapeText } from "../graph/shapes.ts";
import { elementCount } from "../onnx/tensor.ts";
import { crossEntropy } from "./cross-entropy.ts";
import { type DistillationOptions, distillation, logProbabilities } from "./distillation.ts";
import {
  type AnyObjective,
  type CombinedObjective,
  combined,
  isLossModel,
  isObjective,
  isOfEmbeddings,
  type NamedTerm,
  termsOf,
} from "./terms.ts";

/** Prefix of the names of a teacher's values and nodes in the graph of the model that is trained. */
export const teacherPrefix = `${stepPrefix}teacher/`;

/** What the values of a teacher become, so that a loss can read them as labels. */
type Reading = "scores" | "softmax" | "sigmoid";

/** Losses that do not read the teacher's scores as they are. */
const readings: Readonly<Record<string, Reading>> = {
  "cross-entropy": "softmax",
  kl: "softmax",
  bce: "sigmoid",
  "binary-focal": "sigmoid",
};

/** How a loss reads a teacher; undefined for losses of classes, tokens and embeddings, which cannot. */
function readingOf({ objective }: Pick<NamedTerm, "objective">): Reading | undefined {
  if (isLossModel(objective) || objective.labels.type !== "float") return undefined;
  if (isObjective(objective) && (isOfEmbeddings(objective) || objective.labels.own)) return undefined;
  return readings[objective.name] ?? "scores";
}

/** Whether a term compares its prediction with the teacher. @throws UsageError for one that is asked to, and cannot */
function readsTeacher(term: NamedTerm): boolean {
  const { objective, teacher, labels } = term;
  if (teacher === false) return false;
  const isDistillation = isObjective(objective) && objective.name === "distillation";
  if (isDistillation) return true;
  const reads = readingOf(term) !== undefined;
  if (teacher === undefined) return reads && labels === undefined;
  if (!reads) {
    throw new UsageError(
      `the loss ${term.name} cannot read a teacher: distillation, kl, cross-entropy with labels=probabilities, and losses of numbers can`,
    );
  }
  if (labels === undefined) return true;
  throw new UsageError(
    `the loss ${term.name} is given both labels ("${labels}") and a teacher: leave one of them out`,
  );
}

/**
 * The losses of a run with a teacher: each says whether it reads the teacher, and a distillation with α below 1 is two, the
 * divergence from the teacher times α and the cross-entropy with the labels times 1 − α. Losses that are already in this form stay.
 * @param output - the value that a single objective reads
 * @throws UsageError where no loss reads the teacher, or there is none but the model's own
 */
function besideTeacher(objective: AnyObjective | undefined, output?: string): CombinedObjective {
  if (!objective) {
    throw new UsageError(
      "a teacher needs a loss that compares both models (--objective distillation): a model that holds its loss (--loss) reads none",
    );
  }
  const terms = termsOf(objective, output).flatMap((term): readonly NamedTerm[] => {
    if (!readsTeacher(term)) return [{ ...term, teacher: false }];
    const { labels, weight, ...others } = term;
    const soft = { ...others, weight, teacher: term.teacher ?? true };
    const { alpha, classAxis, ...options } = distillationOptions(term);
    if (alpha === 1) {
      if (labels === undefined) return [soft];
      throw new UsageError(
        `the loss ${term.name} reads no labels ("${labels}"): give alpha below 1, or leave labels out`,
      );
    }
    const { mask, output: read } = term;
    const hard: NamedTerm = {
      ...{ objective: crossEntropy({ classAxis }), name: "cross-entropy", teacher: false },
      ...{ weight: weight * (1 - alpha) },
      ...given({ labels, mask, output: read }),
    };
    return [{ ...soft, objective: distillation({ ...options, classAxis }), weight: weight * alpha }, hard];
  });
  if (terms.some(({ teacher }) => teacher !== false)) return combined(terms);
  throw new UsageError(
    `the teacher would have no effect: no loss reads it (${terms.map(({ name }) => name).join(", ")}); give --objective distillation, kl, or mse and other losses of numbers, without labels of their own`,
  );
}

/** Options with the losses of {@link besideTeacher}. @throws UsageError as that does */
export function withTaughtLosses<O extends { readonly objective?: AnyObjective; readonly output?: string }>(
  options: O,
): Omit<O, "objective" | "output"> & { readonly objective: CombinedObjective } {
  const { objective, output, ...others } = options;
  return { ...others, objective: besideTeacher(objective, output) };
}

const distillationOptions = ({ objective }: NamedTerm): Required<DistillationOptions> => {
  const none = { temperature: 1, classAxis: 1, alpha: 1 } as const;
  if (!isObjective(objective) || objective.name !== "distillation") return none;
  return { ...none, ...(objective.options as DistillationOptions) };
};

/**
 * The labels that a loss reads instead of those of the data: the teacher's values, or what their softmax or sigmoid is, in the
 * prediction's shape.
 * @throws UsageError for a teacher's value of another shape
 */
export function labelsOfTeacher(g: Emit, term: NamedTerm, prediction: Typed, value: Typed): Typed {
  const { shape } = prediction;
  const fits =
    elementCount(shape) === elementCount(value.shape) &&
    sameShape(withoutOnes(shape), withoutOnes(value.shape));
  if (!fits) {
    const name = value.name.replace(teacherPrefix, "");
    throw new UsageError(
      `the loss ${term.name} compares "${prediction.name}" ${shapeText(shape)} with "${name}" of the teacher, which is ${shapeText(value.shape)}: name another output of the teacher (--teacher FILE:NAME), or train a model with the teacher's classes`,
    );
  }
  const cast = g.cast(value, prediction.type === "double" ? "double" : "float");
  const scores = sameShape(cast.shape, shape) ? cast : g.reshape(cast, shape);
  const reading = readingOf(term);
  if (reading === "sigmoid") return g.sigmoid(scores);
  if (reading !== "softmax") return scores;
  const axis = isObjective(term.objective) ? (term.objective.classAxis?.(shape) ?? 1) : 1;
  return logProbabilities(g, scores, axis).p();
}

const withoutOnes = (shape: readonly number[]): number[] => shape.filter((dim) => dim !== 1);
