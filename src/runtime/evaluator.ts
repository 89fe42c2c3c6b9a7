import { type EvaluationBatch, evaluatedSamples, evaluationBatches } from "../data/batches.ts";
import { type Dataset, type Filled, isPending, startedFill } from "../data/dataset.ts";
import type { DataFeeds } from "../data/feeds.ts";
import { checkLabels } from "../data/labels.ts";
import type { Normalization } from "../data/normalize.ts";
import { datasetFor } from "../data/term-labels.ts";
import { watchedLabels } from "../data/watched-labels.ts";
import { UsageError } from "../errors.ts";
import type { Evaluation } from "../losses/objective.ts";
import type { AnyObjective } from "../losses/terms.ts";
import type { MeasuringPass } from "../metrics/measuring.ts";
import type { Metric } from "../metrics/metric.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { EvaluatedTerm, EvaluationGraph } from "../programs/evaluation.ts";
import { batchOf } from "../programs/step-ports.ts";
import { batchFeeds, type DataPorts } from "./batch-feeds.ts";
import type { EvaluationResult } from "./events.ts";
import type { Fed, ForwardSession } from "./step-session.ts";

/** Whether an evaluation can only count whole batches, because some loss is one number for each batch. */
const countsBatches = ({ terms, loss }: Pick<EvaluationGraph, "terms" | "loss">): boolean =>
  loss !== undefined || terms.some(({ output }) => output?.shape.length === 0);

/** Everything that an evaluation needs besides the dataset. */
export interface Evaluated {
  readonly session: Pick<ForwardSession, "run">;
  readonly graph: EvaluationGraph;
  readonly ports: DataPorts;
  /** The order in which samples are read; default: as they are. */
  readonly order?: Uint32Array | undefined;
  /** Parameters and statistics by input name. */
  readonly state: ReadonlyMap<string, Fed>;
  readonly signal: AbortSignal | undefined;
  /** How pixels are scaled. */
  readonly normalize: Normalization | undefined;
  /** Computes further figures of one of the losses; undefined where none were asked for. */
  readonly measure?: { readonly term: EvaluatedTerm; readonly begin: () => MeasuringPass } | undefined;
}

/**
 * Loss and accuracy over every sample of a dataset, each counted once: the last batch is filled up to the graph's fixed batch
 * size, and only its real rows count. A loss that is one number for the whole batch, as the model's own may be, is evaluated
 * on whole batches; leftover samples are not counted.
 * @throws SorthError when the data do not fit; UsageError when they do not fill one batch of such a model
 */
export async function evaluate(dataset: Dataset, run: Evaluated): Promise<EvaluationResult> {
  const { session, graph, ports, state, signal } = run;
  const make = () => batchFeeds(ports, dataset, { normalize: run.normalize });
  const first = make();
  const { batch } = first;
  const samples = countedSamples(dataset, run);
  if (samples === 0) {
    const what = graph.loss === undefined ? "the loss is one number" : "the model holds its loss";
    throw new UsageError(
      `${what} for whole batches of ${batch}: give ${dataset.name} at least that many samples for evaluation (it has ${dataset.size})`,
    );
  }
  let loss = 0;
  const sums = graph.terms.map(() => ({
    loss: 0,
    counted: 0,
    weight: 0,
    correct: undefined as number | undefined,
  }));
  const { measure } = run;
  const measured = measure?.begin();
  const batches = [...evaluationBatches(dataset, batch, countsBatches(graph), run.order)];
  for await (const { feeds, count } of filledBatches(batches, first, make)) {
    signal?.throwIfAborted();
    const outputs = await session.run(new Map<string, Fed>([...state, ...feeds.tensors()]));
    for (const [i, term] of graph.terms.entries()) {
      const figures = figuresOf(term, outputs, feeds, { batch, count });
      const sum = sums[i] as (typeof sums)[number];
      sum.loss += figures.loss;
      sum.counted += figures.counted;
      sum.weight += figures.weight ?? figures.counted;
      if (figures.correct !== undefined) sum.correct = (sum.correct ?? 0) + figures.correct;
      if (measured && term === measure?.term && term.prediction) {
        const scores = outputs.get(term.prediction.name)?.data as ArrayLike<number>;
        const mask = term.mask === undefined ? undefined : feeds.labelsOf(term.mask);
        measured.add({ scores, labels: feeds.labelsOf(term.labels), count, mask });
      }
    }
    if (graph.loss !== undefined) loss += (outputs.get(graph.loss)?.numbers()[0] ?? Number.NaN) * count;
  }
  const share = (sum: number, of: number) => (of === 0 ? 0 : sum / of);
  const figures = graph.terms.map(({ name, weight, objective }, i) => {
    const { correct, counted, ...sum } = sums[i] as (typeof sums)[number];
    const accuracy = correct === undefined ? undefined : share(correct, counted);
    const loss = share(sum.loss, sum.weight);
    const perplexity = objective?.perplexity && Math.exp(loss);
    return { name, weight, loss, accuracy, perplexity };
  });
  const totals = measure && figures[graph.terms.indexOf(measure.term)];
  return {
    ...joinedFigures(figures),
    ...(graph.loss !== undefined && { loss: share(loss, samples) }),
    samples,
    ...(totals && measured?.report(totals)),
  };
}

/** The function that begins passes of metrics beside the losses of a graph. @throws UsageError for metrics that are not defined for any of them */
export async function measureOf(
  metrics: readonly (string | Metric)[],
  { terms }: Pick<EvaluationGraph, "terms">,
  batch: number,
): Promise<NonNullable<Evaluated["measure"]>> {
  const { measuredTerm } = await import("./measured-term.ts");
  const measurable = terms.map((term) => ({
    ...{ term, objective: term.objective },
    ...{ shape: term.prediction?.shape, isMasked: term.mask !== undefined },
  }));
  return measuredTerm(metrics, measurable, batch);
}

/** The figures of several losses as those of their weighted sum. */
export function joinedFigures(
  terms: readonly {
    readonly name: string;
    readonly weight: number;
    readonly loss: number;
    readonly accuracy: number | undefined;
    readonly perplexity?: number | undefined;
  }[],
): Pick<EvaluationResult, "loss" | "accuracy" | "perplexity" | "losses" | "accuracies"> {
  const classifying = terms.filter(({ accuracy }) => accuracy !== undefined);
  const [only, second] = classifying;
  const byName = (figures: readonly (readonly [string, number])[]) => Object.fromEntries(figures);
  return {
    loss: terms.reduce((sum, { loss, weight }) => sum + weight * loss, 0),
    ...(only?.accuracy !== undefined && !second && { accuracy: only.accuracy }),
    ...(terms.length === 1 && terms[0]?.perplexity !== undefined && { perplexity: terms[0].perplexity }),
    ...(terms.length > 1 && { losses: byName(terms.map(({ name, loss }) => [name, loss])) }),
    ...(terms.length > 1 &&
      only && { accuracies: byName(classifying.map(({ name, accuracy = 0 }) => [name, accuracy])) }),
  };
}

/** The figures of one loss over the first `count` samples of a batch. */
function figuresOf(
  { objective, prediction, labels, mask, output }: EvaluatedTerm,
  outputs: ReadonlyMap<string, Tensor>,
  feeds: DataFeeds,
  { batch, count }: { readonly batch: number; readonly count: number },
): Evaluation & { readonly counted: number } {
  if (objective && prediction) {
    const predictions = outputs.get(prediction.name)?.data as ArrayLike<number>;
    // A prediction may have several rows for each sample, one for each of its places.
    const rows = ((prediction.shape[0] ?? batch) / batch) * count;
    const figures = objective.evaluate(
      ...([predictions, feeds.labelsOf(labels), rows, prediction.shape] as const),
      mask === undefined ? undefined : feeds.labelsOf(mask),
    );
    return { counted: rows, ...figures };
  }
  const numbers = output ? (outputs.get(output.name)?.numbers() ?? []) : [];
  const places = numbers.length / batch;
  if (output?.shape.length === 0) return { loss: (numbers[0] ?? Number.NaN) * count, counted: count };
  const sum = Array.from(numbers.slice(0, count * places)).reduce((a, b) => a + b, 0);
  return { loss: sum / places, counted: count };
}

/** The size of equal batches that hold all samples, at most `most`; `most` if they would be much smaller than that. */
export function evenBatch(samples: number, most: number): number {
  if (samples < most) return samples;
  for (let size = most; size > most / 4; size--) if (samples % size === 0) return size;
  return most;
}

/** Batches in feeds that hold them until the next one is asked for. Those of a dataset that answers with promises are read one batch ahead. */
export async function* filledBatches(
  batches: readonly EvaluationBatch[],
  first: DataFeeds,
  make: () => DataFeeds,
): AsyncGenerator<EvaluationBatch & { readonly feeds: DataFeeds }, void, undefined> {
  let second: DataFeeds | undefined;
  let ahead: { readonly feeds: DataFeeds; readonly filled: Filled } | undefined;
  for (const [i, { indices, count }] of batches.entries()) {
    const { feeds, filled } = ahead ?? { feeds: first, filled: first.fill(indices) };
    ahead = undefined;
    await filled;
    const next = batches[i + 1];
    if (next && isPending(filled)) {
      second ??= make();
      const other = feeds === first ? second : first;
      ahead = { feeds: other, filled: startedFill(() => other.fill(next.indices)) };
    }
    yield { feeds, indices, count };
  }
}

type Counted = Pick<Evaluated, "graph" | "ports">;

/** All samples, or those in whole batches where the model's loss is one number for each batch. */
const countedSamples = (dataset: Dataset, { graph, ports }: Counted): number =>
  evaluatedSamples(dataset.size, batchOf(ports), countsBatches(graph));

/** A message about the samples that an evaluation leaves out; undefined where it counts all. */
export function remarkOnRest(dataset: Dataset, counted: Counted): string | undefined {
  const left = dataset.size - countedSamples(dataset, counted);
  if (left === 0) return undefined;
  const what = counted.graph.loss === undefined ? "the loss" : "the model's own loss";
  return `${what} is one number for each batch of ${batchOf(counted.ports)}: ${left} of the ${dataset.size} samples of ${dataset.name} fill no batch and are not evaluated`;
}

/**
 * Refuses labels that the objective cannot take. A model that holds its loss may take floats as classes.
 * @param given - the objective in the options; undefined for a model that holds its loss
 * @throws SorthError
 */
export function checkDataset(
  dataset: Dataset,
  { graph: { terms }, ports }: Counted,
  given: AnyObjective | undefined,
): void {
  const inputs = ports.inputs.map(({ name }) => name).filter((name) => !ports.targets?.includes(name));
  for (const { name, objective, prediction, labels, mask } of terms) {
    if (!given && dataset.y.type !== "integer") continue;
    const named = {
      name,
      ...(given && labels !== undefined && { labels }),
      ...(mask !== undefined && { mask }),
    };
    const reader = objective && prediction && { objective, prediction: prediction.shape };
    const own = datasetFor(dataset, named, inputs, reader);
    if (objective && prediction) {
      checkLabels(own, { objective, prediction: prediction.shape, batch: batchOf(ports) });
    }
  }
}

/** The dataset with its labels checked as they are read, where {@link checkDataset} cannot look through them. */
export function watched(
  dataset: Dataset,
  { graph: { terms }, ports }: Counted,
  given: AnyObjective | undefined,
): Dataset {
  if (!given) return dataset;
  const readers = terms.map((term) => ({ ...term, shape: term.prediction?.shape }));
  return watchedLabels(dataset, readers, batchOf(ports));
}
