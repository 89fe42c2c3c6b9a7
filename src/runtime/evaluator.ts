import { type EvaluationBatch, evaluationBatches } from "../data/batches.ts";
import { type Dataset, type Filled, isPending, startedFill } from "../data/dataset.ts";
import type { DataFeeds } from "../data/feeds.ts";
import { checkLabels } from "../data/labels.ts";
import type { Normalization } from "../data/normalize.ts";
import { UsageError } from "../errors.ts";
import type { Objective } from "../losses/objective.ts";
import type { EvaluationGraph } from "../programs/evaluation.ts";
import { batchOf, type StepPorts } from "../programs/step-ports.ts";
import { batchFeeds } from "./batch-feeds.ts";
import type { EvaluationResult } from "./events.ts";
import type { Fed, ForwardSession } from "./step-session.ts";

/** Everything that an evaluation needs besides the dataset. */
export interface Evaluated {
  readonly session: ForwardSession;
  readonly graph: EvaluationGraph;
  readonly ports: StepPorts;
  /** Parameters and statistics by input name. */
  readonly state: ReadonlyMap<string, Fed>;
  readonly signal: AbortSignal | undefined;
  /** How pixels are scaled. */
  readonly normalize: Normalization | undefined;
}

/**
 * Loss and accuracy over every sample of a dataset, each counted once: the last batch is filled up to the graph's fixed batch
 * size, and only its real rows count. A model with its own loss, one number for the whole batch, is evaluated on whole
 * batches; leftover samples are not counted.
 * @throws SorthError when the data do not fit; UsageError when they do not fill one batch of such a model
 */
export async function evaluate(dataset: Dataset, run: Evaluated): Promise<EvaluationResult> {
  const { session, graph, ports, state, signal } = run;
  const { objective, prediction } = graph;
  const make = () => batchFeeds(ports, dataset, { normalize: run.normalize });
  const first = make();
  const { batch } = first;
  const samples = countedSamples(dataset, run);
  if (samples === 0) {
    throw new UsageError(
      `the model holds its loss for whole batches of ${batch}: give ${dataset.name} at least that many samples for evaluation (it has ${dataset.size})`,
    );
  }
  let [loss, counted, weight] = [0, 0, 0];
  let correct: number | undefined;
  const batches = [...evaluationBatches(dataset, batch)].filter(
    ({ count }) => graph.loss === undefined || count === batch,
  );
  for await (const { feeds, count } of filledBatches(batches, first, make)) {
    signal?.throwIfAborted();
    const outputs = await session.run(new Map<string, Fed>([...state, ...feeds.tensors()]));
    if (objective && prediction) {
      const predictions = outputs.get(prediction.name)?.data as ArrayLike<number>;
      // A prediction may have several rows for each sample, one for each of its places.
      const rows = (prediction.shape[0] ?? batch) / batch;
      const figures = objective.evaluate(
        predictions,
        feeds.labelsOf(graph.labels),
        count * rows,
        prediction.shape,
      );
      if (graph.loss === undefined) loss += figures.loss;
      const own = figures.counted ?? count * rows;
      counted += own;
      weight += figures.weight ?? own;
      if (figures.correct !== undefined) correct = (correct ?? 0) + figures.correct;
    }
    if (graph.loss !== undefined) loss += (outputs.get(graph.loss)?.numbers()[0] ?? Number.NaN) * count;
  }
  const share = (sum: number, of: number) => (of === 0 ? 0 : sum / of);
  const mean = share(loss, graph.loss === undefined ? weight : samples);
  return {
    loss: mean,
    ...(correct === undefined ? {} : { accuracy: share(correct, counted) }),
    ...(objective?.perplexity && { perplexity: Math.exp(mean) }),
    samples,
  };
}

/** Batches in feeds that hold them until the next one is asked for. Those of a dataset that answers with promises are read one batch ahead. */
export async function* filledBatches(
  batches: readonly EvaluationBatch[],
  first: DataFeeds,
  make: () => DataFeeds,
): AsyncGenerator<{ readonly feeds: DataFeeds; readonly count: number }, void, undefined> {
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
    yield { feeds, count };
  }
}

type Counted = Pick<Evaluated, "graph" | "ports">;

/** All samples, or those in whole batches where the model's loss is one number for each batch. */
const countedSamples = (dataset: Dataset, { graph, ports }: Counted): number =>
  graph.loss === undefined ? dataset.size : dataset.size - (dataset.size % batchOf(ports));

/** A message about the samples that an evaluation leaves out; undefined where it counts all. */
export function remarkOnRest(dataset: Dataset, counted: Counted): string | undefined {
  const left = dataset.size - countedSamples(dataset, counted);
  if (left === 0) return undefined;
  return `the model's own loss is one number for each batch of ${batchOf(counted.ports)}: ${left} of the ${dataset.size} samples of ${dataset.name} fill no batch and are not evaluated`;
}

/**
 * Refuses labels that the objective cannot take. A model that holds its loss may take floats as classes.
 * @param given - the objective in the options; undefined for a model that holds its loss
 * @throws SorthError
 */
export function checkDataset(
  dataset: Dataset,
  { graph: { objective, prediction }, ports }: Counted,
  given: Objective | undefined,
): void {
  if (!objective || !prediction || (!given && dataset.y.type !== "integer")) return;
  checkLabels(dataset, { objective, prediction: prediction.shape, batch: batchOf(ports) });
}
