import { hasFreeBatch } from "../analysis/dimensions.ts";
import { checkNoArtifact } from "../artifacts/training-model.ts";
import type { Dataset } from "../data/dataset.ts";
import { lengthsOf, siameseOf } from "../data/lengths.ts";
import { checkPairs } from "../data/pairs.ts";
import { UsageError } from "../errors.ts";
import { given } from "../given.ts";
import { graphOf } from "../graph/model-graph.ts";
import { isOfEmbeddings, termsOf } from "../losses/terms.ts";
import type { Model } from "../onnx/model.ts";
import { buildEvaluation } from "../programs/evaluation.ts";
import type { LossOptions } from "../programs/options.ts";
import { batchOf } from "../programs/step-ports.ts";
import { normalizationFor } from "./batch-feeds.ts";
import { checkDataset, evaluate, evenBatch, measureOf, remarkOnRest } from "./evaluator.ts";
import type { EvaluateOptions, ModelEvaluation } from "./model-evaluation.ts";
import { batchFor } from "./model-run.ts";
import { backendNamed } from "./trainer-options.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";

/**
 * Evaluates a model with its own loss, or with losses that only a graph computes: they become part of its inference form. Loss and accuracy alone;
 * no sample is listed, because such a loss may be one number for a batch.
 */
export async function evaluateInGraph(
  model: Model,
  dataset: Dataset,
  options: EvaluateOptions & Pick<LossOptions, "loss">,
  runtime: TrainerRuntime,
): Promise<ModelEvaluation> {
  const file = graphOf(model);
  checkNoArtifact(file);
  const { objective, loss: own, output, onMessage, signal } = options;
  if (options.buckets) {
    throw new UsageError(
      "this loss is computed for whole batches, whose samples depend on the order: leave buckets out (--buckets)",
    );
  }
  const backend = backendNamed(options.backend, runtime.backends);
  const ofEmbeddings = objective && termsOf(objective).some((term) => isOfEmbeddings(term.objective));
  const siamese = ofEmbeddings ? siameseOf(model, dataset) : undefined;
  const free = hasFreeBatch(file);
  const rows = batchFor(file, options.batch, dataset.size);
  const most = free ? rows : rows / (siamese ?? 1);
  const dims = lengthsOf(model, dataset, given({ siamese }));
  const loss = {
    batch: options.batch === undefined && free ? evenBatch(dataset.size, most) : most,
    ...(Object.keys(dims).length > 0 && { dims }),
    ...given({ objective, loss: own, output, siamese, onMessage }),
  };
  const noState = { parameters: [], statistics: [] };
  const graph = await buildEvaluation(model, loss, noState, runtime.probe, await backend.lowering());
  const ports = graph.data ?? { inputs: [], labels: undefined };
  checkPairs(dataset, objective, ports);
  const normalize = options.normalize ?? normalizationFor(dataset, { model, step: { ports } }, onMessage);
  checkDataset(dataset, { graph, ports }, objective);
  const remark = remarkOnRest(dataset, { graph, ports });
  if (remark !== undefined) onMessage?.(remark);
  const session = await backend.openForward(graph.model, options);
  try {
    const { metrics } = options;
    const measure = metrics && (await measureOf(metrics, graph, batchOf(ports)));
    const run = { session, graph, ports, state: new Map(), signal, normalize, measure };
    return { ...(await evaluate(dataset, run)), worst: [] };
  } finally {
    await session.release();
  }
}
