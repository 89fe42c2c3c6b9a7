import { batchAxisOf, fedInputs } from "../analysis/dimensions.ts";
import { checkNoArtifact } from "../artifacts/training-model.ts";
import { blockOf, removeBlock } from "../block/block.ts";
import { type EvaluationBatch, evaluationBatches } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import type { DataFeeds } from "../data/feeds.ts";
import { checkLabels } from "../data/labels.ts";
import type { Normalization } from "../data/normalize.ts";
import { feedsOfGraph } from "../data/sample-feeds.ts";
import { DataError, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf, modelOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import type { Objective } from "../losses/objective.ts";
import { choosePrediction } from "../losses/prediction.ts";
import { checkNumber, count } from "../numbers.ts";
import { isFloat } from "../onnx/data-types.ts";
import type { Model } from "../onnx/model.ts";
import type { BackendName } from "../passes/backends/names.ts";
import { runGraphPass } from "../passes/pass.ts";
import { setBatchNormForm } from "../passes/training/batch-norm.ts";
import { emptyCache } from "../passes/training/empty-cache.ts";
import { stopDropout } from "../passes/training/stop-dropout.ts";
import { filledBatches } from "./evaluator.ts";
import type { ForwardSession, SessionOptions } from "./step-session.ts";
import { backendNamed } from "./trainer-options.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";

/** Options of a run of a model over a dataset. */
export interface ModelRunOptions extends SessionOptions {
  /** The value to read, an output or an inner value; default: the first output of floats. */
  readonly output?: string;
  /** Samples per run, where the model leaves that open; default 64. */
  readonly batch?: number;
  /** Scaling of pixels; default: chosen from the data and the model, with a message. */
  readonly normalize?: Normalization;
  /** Default: the first backend of the entry, which is the CPU. */
  readonly backend?: BackendName;
  readonly signal?: AbortSignal;
}

/** One batch of results. */
export interface BatchOfResults {
  /** Index of its first sample in the dataset. */
  readonly first: number;
  /** Samples that count: a fixed batch is filled up with copies of its last sample. */
  readonly count: number;
  /** The value's numbers, [rows, …]; a sample may have several rows. */
  readonly scores: ArrayLike<number>;
  /** The shape of the value. */
  readonly shape: readonly number[];
  /** Rows of one sample. */
  readonly rowsOfSample: number;
  /** Labels of the rows, if they were asked for. */
  readonly labels: ArrayLike<number>;
}

/** Samples per run, where the model and the caller leave that open. */
const usualBatch = 64;

/** Name of the input for labels; the model itself has none. */
const labelsName = "labels";

/**
 * Runs a model in inference form over a dataset, batch by batch: stored statistics, no Dropout, no penalty, and nothing that the
 * value does not need.
 * @param objective - if the model ends in an operator that it applies itself, the value in front of that is taken
 * @param labelled - whether the objective's labels are read too
 * @throws SorthError when samples or labels do not fit the model, or the model cannot be run
 */
export async function* modelResults(
  model: Model,
  dataset: Dataset,
  { objective, labelled }: { readonly objective?: Objective | undefined; readonly labelled: boolean },
  options: ModelRunOptions,
  runtime: TrainerRuntime,
): AsyncGenerator<BatchOfResults, void, undefined> {
  checkNumber("batch", options.batch, count);
  if (labelled && dataset.y.type === "none" && !objective?.labels.own) {
    throw new DataError(`${dataset.name} has no labels, and an evaluation needs them`);
  }
  const graph = graphOf(model);
  checkNoArtifact(graph);
  const value = inferenceOf(graph, objective, options);
  const batch = batchFor(graph, options.batch, dataset.size);
  runGraphPass(emptyCache({ batch }), graph);
  const backend = backendNamed(options.backend, runtime.backends);
  const session = await backend.openForward(modelOf(graph, model), options);
  try {
    const { dims } = await firstResult(session, feedsOfGraph(graph, dataset, batch, options), value);
    const rows = dims[0] ?? batch;
    if (rows % batch !== 0 && rows !== batch) {
      throw new UsageError(
        `"${value.name}" has ${rows} rows for ${batch} samples: name another value (--prediction)`,
      );
    }
    const silent = { ...options, onMessage: undefined };
    const port = labelled &&
      objective && {
        ...{
          name: labelsName,
          type: objective.labels.type,
          shape: objective.labels.shape(dims),
          batchAxis: 0,
          own: objective.labels.own?.(dims),
        },
      };
    if (labelled && objective) checkLabels(dataset, { objective, prediction: dims, batch });
    const make = (): DataFeeds => feedsOfGraph(graph, dataset, batch, silent, port ? [port] : []);
    const batches: EvaluationBatch[] = [...evaluationBatches(dataset, batch)];
    let first = 0;
    for await (const { feeds, count: counted } of filledBatches(batches, make(), make)) {
      options.signal?.throwIfAborted();
      const inputs = new Map([...feeds.tensors()].filter(([name]) => name !== labelsName || !port));
      const result = (await session.run(inputs)).get(value.name);
      yield {
        ...{ first, count: counted, shape: dims, rowsOfSample: rows / batch },
        scores: result?.numbers() ?? [],
        labels: port ? feeds.labelsOf(labelsName) : [],
      };
      first += counted;
    }
  } finally {
    await session.release();
  }
}

/** Leaves in a graph what a value needs, in inference form. @returns the value */
function inferenceOf(graph: Graph, objective: Objective | undefined, { output }: ModelRunOptions): Value {
  const block = blockOf(graph);
  if (block) removeBlock(graph, block);
  runGraphPass(setBatchNormForm({ mode: "frozen" }), graph);
  runGraphPass(stopDropout(), graph);
  const value = objective ? choosePrediction(graph, objective, output).value : outputOf(graph, output);
  graph.outputs.splice(0, Infinity, value);
  graph.prune();
  for (const input of [...graph.inputs]) if (input.uses.size === 0) graph.removeInput(input);
  return value;
}

/** @throws UsageError if there is no such value */
function outputOf(graph: Graph, name: string | undefined): Value {
  const named = name === undefined ? undefined : graph.value(name);
  const first = graph.outputs.find(({ type }) => type !== undefined && isFloat(type)) ?? graph.outputs[0];
  const found = name === undefined ? first : named;
  if (found) return found;
  const names = graph.outputs.map((output) => output.name).join(", ");
  throw new UsageError(`the model has no value "${name}"; its outputs are ${names}`);
}

/** Samples of one run: what the model fixes, or what the caller asks for. @throws UsageError if these differ */
function batchFor(graph: Graph, asked: number | undefined, samples: number): number {
  const fixed = fedInputs(graph).flatMap((input) => {
    const dim = input.declared?.[batchAxisOf(input, [], undefined)];
    return typeof dim === "number" ? [dim] : [];
  });
  const [own] = fixed;
  if (own === undefined) return asked ?? Math.min(usualBatch, samples);
  if (asked === undefined || asked === own) return own;
  throw new UsageError(`the model fixes its batch size at ${own}: use --batch ${own}, or leave it out`);
}

/** The value for the first samples, to know its shape. */
async function firstResult(
  session: ForwardSession,
  feeds: DataFeeds,
  { name }: Value,
): Promise<{ readonly dims: readonly number[] }> {
  await feeds.fill(new Uint32Array(feeds.batch));
  const result = (await session.run(feeds.tensors())).get(name);
  if (!result) throw new UsageError(`"${name}" is no tensor: name another value (--prediction)`);
  return { dims: result.dims };
}
