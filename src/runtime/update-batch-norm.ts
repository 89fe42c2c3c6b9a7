import { stepPrefix } from "../analysis/block-nodes.ts";
import { inferShapes } from "../analysis/infer.ts";
import { checkNoArtifact } from "../artifacts/training-model.ts";
import { checkDataset } from "../data/check-dataset.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Normalization } from "../data/normalize.ts";
import { SorthError } from "../errors.ts";
import { Emit } from "../graph/emit.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Node } from "../graph/node.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { checkNumber, count } from "../numbers.ts";
import type { Model } from "../onnx/model.ts";
import { Tensor } from "../onnx/tensor.ts";
import { withWeights } from "../programs/export.ts";
import { measureNormalization } from "../programs/measure-normalization.ts";
import { sessionNames } from "./check-run-options.ts";
import { inferenceForm, MeasuredBatches, resultsOf } from "./measured-batches.ts";
import type { SessionOptions } from "./step-session.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";

/** Options of `updateBatchNorm`. */
export interface UpdateBatchNormOptions extends SessionOptions {
  /** Samples of a batch, where the model leaves that open; default 64. Give the batch of the training. */
  readonly batch?: number;
  /** How many samples are read; default: all that fill whole batches. */
  readonly samples?: number;
  /** Which variance a batch counts with: `torch` divides by one less than the number of values, `onnx` (default) by it. */
  readonly runningVariance?: "onnx" | "torch";
  /** Only these running statistics, by the names of their initializers; default: all. */
  readonly statistics?: ReadonlySet<string>;
  /** Seed of the order in which samples are drawn; default 0. */
  readonly seed?: number;
  /** Scaling of pixels; default: chosen from the data and the model. */
  readonly normalize?: Normalization;
  /** Default: the first backend of the entry, which is the CPU. */
  readonly backend?: string;
  readonly signal?: AbortSignal;
}

const optionNames = {
  ...sessionNames,
  ...{ batch: true, samples: true, runningVariance: true, statistics: true, seed: true },
  ...{ normalize: true, backend: "text", signal: "signal" },
} as const satisfies OptionNames<UpdateBatchNormOptions>;

/** Computes the running statistics of BatchNormalization again. `Library.updateBatchNorm` documents it. */
export async function updateBatchNorm(
  model: Model,
  dataset: Dataset,
  options: UpdateBatchNormOptions,
  runtime: TrainerRuntime,
): Promise<Model> {
  const statistics = await batchNormStatistics(model, dataset, options, runtime);
  if (statistics.size === 0) {
    throw new SorthError(
      "the model has no BatchNormalization whose running statistics could be computed again",
    );
  }
  return withWeights(model, statistics, { keepPenalty: true });
}

/** A BatchNormalization with running statistics of its own. */
interface RunningNormalization {
  readonly node: Node;
  /** Its running mean and variance. */
  readonly stored: readonly [Tensor, Tensor];
}

/**
 * The running statistics of a model with the weights that it has, by name: means over batches of each batch's mean and variance,
 * in training form, as torch.optim.swa_utils.update_bn does with the loader's batches.
 */
export async function batchNormStatistics(
  model: Model,
  dataset: Dataset,
  options: UpdateBatchNormOptions,
  runtime: TrainerRuntime,
): Promise<Map<string, Tensor>> {
  checkKnown("updateBatchNorm", options, optionNames);
  checkDataset(dataset);
  checkNumber("batch", options.batch, count);
  const { samples = dataset.size, seed = 0, runningVariance = "onnx", statistics: wanted } = options;
  const original = graphOf(model);
  checkNoArtifact(original);
  const batches = await MeasuredBatches.of(model, dataset, { ...options, samples, seed });
  const graph = inferenceForm(model);
  await inferShapes(graph, runtime.probe, batches.dimensions);
  const found = graph.nodes.flatMap((node): RunningNormalization[] => {
    const [, , , mean, variance] = node.op === "BatchNormalization" ? node.inputs : [];
    if (!mean?.initializer || !variance?.initializer) return [];
    const stored = [mean, variance].map(({ name, initializer }) => (initializer as Tensor).named(name));
    const isWanted = stored.every(({ name }) => wanted?.has(name) ?? true);
    return isWanted ? [{ node, stored: stored as [Tensor, Tensor] }] : [];
  });
  if (found.length === 0) return new Map();
  const emit = new Emit(graph, { prefix: stepPrefix });
  const measured = found.map(({ node }) => {
    const normalization = measureNormalization(graph, emit, node, runningVariance);
    if (!normalization) throw new SorthError(`the inputs of node "${node.label}" are missing`);
    return normalization;
  });
  graph.outputs.splice(0, Infinity, ...measured.flatMap(({ mean, variance }) => [mean, variance]));
  const sums = measured.map(
    ({ channels }) => [new Float64Array(channels), new Float64Array(channels)] as const,
  );
  let number = 0;
  for await (const results of resultsOf(graph, model, batches, options, runtime)) {
    for (const [i, { mean, variance }] of measured.entries()) {
      for (const [part, { name }] of [mean, variance].entries()) {
        const batch = results.get(name)?.numbers() ?? [];
        const sum = sums[i]?.[part];
        for (let unit = 0; sum && unit < sum.length; unit++) {
          sum[unit] = (sum[unit] as number) + Number(batch[unit] ?? Number.NaN);
        }
      }
    }
    number += 1;
  }
  const results = new Map<string, Tensor>();
  for (const [i, { stored }] of found.entries()) {
    const { factor = 1 } = measured[i] ?? {};
    for (const [part, tensor] of stored.entries()) {
      const values = (sums[i]?.[part] ?? new Float64Array()).map(
        (sum) => (sum / number) * (part === 1 ? factor : 1),
      );
      if (!values.every(Number.isFinite)) {
        throw new SorthError(`the statistics of "${tensor.name}" are no finite numbers on these data`);
      }
      results.set(tensor.name, like(tensor, values));
    }
  }
  return results;
}

/** Numbers in the type and shape of a tensor. */
function like({ name, type, dims }: Tensor, values: Float64Array): Tensor {
  return Tensor.of(name, type, dims, type === "double" ? values : Float32Array.from(values));
}
