import { evaluationBatches } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import { checkLabels } from "../data/fit.ts";
import { SorthError, UsageError } from "../errors.ts";
import type { Objective } from "../objectives/objective.ts";
import type { EvaluationGraph } from "../training/evaluation.ts";
import type { StepPorts } from "../training/step.ts";
import { batchFeeds } from "./batch-feeds.ts";
import type { EvaluationResult } from "./events.ts";
import type { Fed, ForwardSession } from "./step-session.ts";

/** What an evaluation runs. */
export interface Evaluated {
  readonly session: ForwardSession;
  readonly graph: EvaluationGraph;
  readonly ports: StepPorts;
  readonly objective: Objective | undefined;
  /** Parameters and statistics by input name. */
  readonly state: ReadonlyMap<string, Fed>;
  readonly signal: AbortSignal | undefined;
}

/**
 * Loss and accuracy over every sample of a dataset, each counted once: the last batch is filled up for the graph's fixed
 * batch size, and only its real rows count.
 * @throws SorthError when data do not fit; UsageError when a model that holds its loss cannot count a partial batch
 */
export async function evaluate(dataset: Dataset, run: Evaluated): Promise<EvaluationResult> {
  const { session, graph, ports, objective, state, signal } = run;
  const feeds = batchFeeds(ports, dataset);
  const batch = ports.inputs[0]?.shape[0];
  if (!batch) throw new SorthError("the model's first input has no batch dimension");
  if (!objective && dataset.size % batch !== 0) {
    throw new UsageError(
      `the model holds its loss for whole batches of ${batch}: give ${dataset.name} a multiple of that many samples for evaluation (it has ${dataset.size})`,
    );
  }
  let loss = 0;
  let correct = 0;
  let counted = false;
  for (const { indices, count } of evaluationBatches(dataset, batch)) {
    signal?.throwIfAborted();
    feeds.dataset.fill(indices, feeds.x, feeds.y);
    const outputs = await session.run(new Map<string, Fed>([...state, ...feeds.tensors]));
    if (objective && graph.prediction) {
      const predictions = outputs.get(graph.prediction.name)?.data as ArrayLike<number>;
      const labels = feeds.y instanceof BigInt64Array ? Array.from(feeds.y, Number) : feeds.y;
      const figures = objective.evaluate(predictions, labels, count, graph.prediction.shape);
      loss += figures.loss;
      if (figures.correct !== undefined) {
        correct += figures.correct;
        counted = true;
      }
    } else if (graph.loss !== undefined) {
      loss += (outputs.get(graph.loss)?.numbers()[0] ?? Number.NaN) * count;
    }
  }
  const samples = dataset.size;
  return { loss: loss / samples, ...(counted ? { accuracy: correct / samples } : {}), samples };
}

/** Refuses labels that the objective cannot take. @throws SorthError */
export function checkDataset(
  dataset: Dataset,
  objective: Objective | undefined,
  prediction: readonly number[] | undefined,
): void {
  if (objective?.name === "cross-entropy" && prediction) checkLabels(dataset, prediction[1] ?? 1);
}
