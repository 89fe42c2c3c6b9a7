import type { Dataset } from "../data/dataset.ts";
import { objectiveFor } from "../data/labels.ts";
import { type RecordedLoss, recordedLoss, recordedObjective } from "../data/recorded-objective.ts";
import { UsageError } from "../errors.ts";
import { given } from "../given.ts";
import { graphOf } from "../graph/model-graph.ts";
import { dimAt, type Shape } from "../graph/shapes.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { placeOf } from "../losses/class-scores.ts";
import { crossEntropy } from "../losses/cross-entropy.ts";
import { meanSquaredError } from "../losses/elementwise.ts";
import type { Objective } from "../losses/objective.ts";
import { objectiveText } from "../losses/objective-text.ts";
import { choosePrediction } from "../losses/prediction.ts";
import { isObjective, isOfEmbeddings, termsOf } from "../losses/terms.ts";
import type { Model } from "../onnx/model.ts";
import { elementCount } from "../onnx/tensor.ts";
import { injectedObjective } from "../programs/injected-objective.ts";
import { checkRunOptions, modelRunNames } from "./check-run-options.ts";
import { type ModelRunOptions, modelResults, type ValueResults } from "./model-run.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";

/** Options of {@link ModelFunctions.predict}. */
export interface PredictOptions extends ModelRunOptions {
  /**
   * The loss that the model was trained with, which says what its numbers mean: scores of classes (cross-entropy), scores of
   * yes-or-no labels (bce, binary-focal), or numbers (the others). Default: the one that the model records; without a record
   * `crossEntropy()` if the model ends in Softmax or the dataset has a class for each sample, else numbers, with a message; numbers, too, where
   * the model has one for each sample.
   */
  readonly objective?: Objective;
}

/** A model's answer for one sample. */
export interface Prediction {
  /** Index of the sample in the dataset. */
  readonly sample: number;
  /** The class with the highest score, for models of classes; the next token, for causal language models. −1 if a score is NaN. */
  readonly answer?: number;
  /** The class with the highest score at each place of a sample that has several: tokens, pixels (row by row). */
  readonly answers?: readonly number[];
  /**
   * The probability of the next token, or of each answer of several. For losses of embeddings: the embedding, or those of a
   * sample's inputs one after another. For other models: probabilities of the classes or of the
   * yes-or-no labels, else the model's numbers.
   */
  readonly scores: readonly number[];
}

/** How a model's numbers become an answer. */
type Kind = "classes" | "labels" | "numbers" | "next";

const predictNames = { ...modelRunNames, objective: true } as const satisfies OptionNames<PredictOptions>;

/** Runs a model as it stands on every sample. `ModelFunctions.predict` documents it. */
export async function* predict(
  model: Model,
  dataset: Dataset,
  options: PredictOptions,
  runtime: TrainerRuntime,
): AsyncGenerator<Prediction, void, undefined> {
  checkKnown("predict", options, predictNames);
  checkRunOptions(options, model, dataset);
  if (options.objective !== undefined) termsOf(options.objective);
  const found = answersFor(model, dataset, options, runtime);
  if (!options.buckets) return yield* found;
  const inOrder: Prediction[] = [];
  for await (const one of found) inOrder[one.sample] = one;
  yield* inOrder;
}

/** The answers, with buckets in the order of their lengths. */
async function* answersFor(
  model: Model,
  dataset: Dataset,
  options: PredictOptions,
  runtime: TrainerRuntime,
): AsyncGenerator<Prediction, void, undefined> {
  // Labels, where there are some, say which axis counts the classes.
  const own = scoresOfOwnLoss(model, options);
  const recorded = options.objective ? undefined : recordedTerm(model, options);
  const output = options.output ?? recorded?.output ?? own?.scores;
  const usual = () =>
    own?.objective && output === own.scores ? own.objective : usualObjective(model, dataset, options, output);
  const { objective } = objectiveFor(options.objective ?? recorded?.objective ?? usual(), dataset);
  if (isOfEmbeddings(objective)) {
    const { predictEmbeddings } = await import("./predict-embeddings.ts");
    return yield* predictEmbeddings(model, dataset, objective, options, runtime);
  }
  const named = kindOf(objective);
  const isChosen = options.objective !== undefined || recorded !== undefined;
  let isTold = false;
  const wanted = [{ objective, name: objective.name, ...(output !== undefined && { output }) }];
  const results = modelResults(model, dataset, { wanted, labelled: named === "next" }, options, runtime);
  for await (const { samples, values } of results) {
    const { scores, labels, shape, rowsOfSample } = values[0] as ValueResults;
    const width = elementCount(shape.slice(1)) * rowsOfSample;
    // One number for a sample is the score of no class among others, although the data have classes.
    const isOneNumber = !isChosen && named === "classes" && width === 1;
    const kind = isOneNumber ? "numbers" : named;
    if (isOneNumber && !isTold) {
      options.onMessage?.(
        "one number a sample, as the model computes it; name its loss (--objective bce) for the probability of yes",
      );
    }
    isTold = true;
    if (kind === "next") {
      for (const [i, sample] of samples.entries()) yield { sample, ...nextToken(scores, labels, shape, i) };
      continue;
    }
    const axis = objective.classAxis?.(shape) ?? 1;
    const isOneRow =
      kind !== "classes" || (rowsOfSample === 1 && dimAt(shape, axis) === elementCount(shape.slice(1)));
    for (const [i, sample] of samples.entries()) {
      const own = Array.from({ length: width }, (_, k) => scores[i * width + k] ?? Number.NaN);
      yield { sample, ...(isOneRow ? answerOf(kind, own) : answersOf(own, shape, axis)) };
    }
  }
}

/** The loss that a model records, of several the one that reads the output; undefined where it records none, or several do. */
function recordedTerm(
  model: Model,
  { output, onMessage }: PredictOptions,
): { readonly objective: Objective; readonly output?: string } | undefined {
  const trained = recordedObjective(model, output);
  const injected = trained ? undefined : injectedObjective(model, { ...given({ output, onMessage }) });
  const recorded = trained ?? injected;
  const [term, second] = recorded ? termsOf(recorded.objective, recorded.output) : [];
  if (!term || second || !isObjective(term.objective)) return undefined;
  const { objective, output: read = output } = term;
  if (trained && objective.name !== "cross-entropy") {
    onMessage?.(
      `answers as ${objectiveText(objective)} reads them, which the model was trained with; objective (--objective) names another`,
    );
  }
  return { objective, ...(read !== undefined && { output: read }) };
}

/** What the model's own loss reads, where that was trained. @throws UsageError where nothing says which value is the answer */
function scoresOfOwnLoss(model: Model, { output }: PredictOptions): RecordedLoss | undefined {
  const own = recordedLoss(model);
  if (!own || own.scores !== undefined || output !== undefined) return own;
  throw new UsageError(
    `the only output of the model is its loss "${own.loss}": name the value to predict with --prediction (option output)`,
  );
}

function usualObjective(
  model: Model,
  { y }: Dataset,
  { onMessage }: PredictOptions,
  output: string | undefined,
): Objective {
  const graph = graphOf(model);
  const scores = choosePrediction(graph, crossEntropy(), output).value;
  const itself = choosePrediction(graph, meanSquaredError(), output).value;
  if (scores !== itself || (y.type === "integer" && y.shape.length === 0)) return crossEntropy();
  onMessage?.(
    `"${itself.name}": numbers as the model computes them; name its loss (--objective cross-entropy) for classes and probabilities`,
  );
  return meanSquaredError();
}

function kindOf({ name }: Objective): Kind {
  if (["cross-entropy", "kl", "distillation"].includes(name)) return "classes";
  if (name === "causal-lm") return "next";
  if (name === "masked-lm") {
    throw new UsageError(
      "predict has no answers of a masked language model: evaluate measures it, and --objective mse gives its scores",
    );
  }
  return name === "bce" || name === "binary-focal" ? "labels" : "numbers";
}

/** The answer at each place of a sample. @param shape - of a batch of such scores, with its axis of classes */
function answersOf(scores: readonly number[], shape: Shape, axis: number): Omit<Prediction, "sample"> {
  const classes = dimAt(shape, axis);
  const inner = elementCount(shape.slice(axis + 1));
  const places = Array.from({ length: scores.length / classes }, (_, place) => {
    const own = Array.from(
      { length: classes },
      (_, c) => scores[placeOf(place, c, classes, inner)] ?? Number.NaN,
    );
    const { answer = -1, scores: shares } = answerOf("classes", own);
    return { answer, share: shares[answer] ?? Number.NaN };
  });
  return { answers: places.map(({ answer }) => answer), scores: places.map(({ share }) => share) };
}

/** The most likely token behind the last one of a sample that counts, and its probability. */
function nextToken(
  scores: ArrayLike<number>,
  labels: ArrayLike<number>,
  shape: Shape,
  sample: number,
): Omit<Prediction, "sample"> {
  const [places, tokens] = [dimAt(shape, 1), dimAt(shape, 2)];
  let last = places - 1;
  while (last > 0 && (labels[sample * places + last] ?? 0) < 0) last -= 1;
  const from = (sample * places + last) * tokens;
  const own = Array.from({ length: tokens }, (_, token) => scores[from + token] ?? Number.NaN);
  const { answer = -1, scores: all } = answerOf("classes", own);
  return { answer, scores: [all[answer] ?? Number.NaN] };
}

function answerOf(kind: Kind, scores: readonly number[]): Omit<Prediction, "sample"> {
  if (kind === "numbers") return { scores };
  if (kind === "labels") return { scores: scores.map((x) => 1 / (1 + Math.exp(-x))) };
  const highest = scores.reduce((most, score) => Math.max(most, score), Number.NEGATIVE_INFINITY);
  const exponentials = scores.map((x) => Math.exp(x - highest));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return { answer: scores.indexOf(highest), scores: exponentials.map((x) => x / sum) };
}
