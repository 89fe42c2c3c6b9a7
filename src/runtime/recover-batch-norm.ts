import { hasAdapters } from "../analysis/adapter-names.ts";
import { batchNormKey } from "../analysis/batch-norm-form.ts";
import { stepPrefix } from "../analysis/block-nodes.ts";
import type { DimensionOptions } from "../analysis/dimensions.ts";
import { inferShapes } from "../analysis/infer.ts";
import { dimensionNames } from "../analysis/option-names.ts";
import { checkNoArtifact } from "../artifacts/training-model.ts";
import { batchStatistics, normalizeBatch } from "../autodiff/rules/batch-normalization.ts";
import { type MeasuredLayer, type ResponseStatistics, withBatchNorm } from "../batch-norm/add-batch-norm.ts";
import { type FoldedLayer, type FoldedLayerOptions, foldedLayers } from "../batch-norm/folded-layers.ts";
import { blockOf } from "../block/block.ts";
import { checkDataset } from "../data/check-dataset.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Normalization } from "../data/normalize.ts";
import { DataError, SorthError } from "../errors.ts";
import { Emit } from "../graph/emit.ts";
import { typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { isFloat } from "../onnx/data-types.ts";
import type { Model } from "../onnx/model.ts";
import { elementCount } from "../onnx/tensor.ts";
import { sessionNames } from "./check-run-options.ts";
import { inferenceForm, MeasuredBatches, resultsOf } from "./measured-batches.ts";
import type { SessionOptions } from "./step-session.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";

/** Options of `recoverBatchNorm`. */
export interface RecoverBatchNormOptions extends FoldedLayerOptions, DimensionOptions, SessionOptions {
  /** How many samples the statistics are measured on; default 1024, or all if there are fewer. */
  readonly samples?: number;
  /** Seed of the order in which samples are drawn; default 0. */
  readonly seed?: number;
  /** Scaling of pixels; default: chosen from the data and the model. */
  readonly normalize?: Normalization;
  /** Default: the first backend of the entry, which is the CPU. */
  readonly backend?: string;
  readonly signal?: AbortSignal;
}

const optionNames = {
  ...{ ...dimensionNames, ...sessionNames, include: "pattern", exclude: "pattern" },
  ...{ samples: true, seed: true, normalize: true, backend: "text", signal: "signal" },
} as const satisfies OptionNames<RecoverBatchNormOptions>;

/** Samples from which statistics are measured, unless the caller says how many. */
const usualSamples = 1024;

/** Largest difference of the outputs that rounding can make, as a share of their size. */
const mostRounding = 1e-3;

/** Gives layers the BatchNormalization back that an exporter folded into them. `Library.recoverBatchNorm` documents it. */
export async function recoverBatchNorm(
  model: Model,
  dataset: Dataset,
  options: RecoverBatchNormOptions,
  runtime: TrainerRuntime,
): Promise<Model> {
  checkKnown("recoverBatchNorm", options, optionNames);
  const { samples = usualSamples, seed = 0, onMessage } = options;
  const original = graphOf(model);
  checkDataset(dataset);
  checkNoArtifact(original);
  if (blockOf(original)) {
    throw new SorthError("the model has an injected penalty: strip it first, then recover its BatchNorm");
  }
  if (hasAdapters(model)) {
    throw new SorthError(
      "the model has adapters beside its layers, and a recovered BatchNorm is folded into the weights: merge the adapters first (sorth-onnx merge)",
    );
  }
  if (original.metadata.has(batchNormKey)) {
    throw new SorthError("the model has its BatchNorm back already");
  }
  const batches = await MeasuredBatches.of(model, dataset, { ...options, samples, seed });
  const graph = inferenceForm(model);
  await inferShapes(graph, runtime.probe, batches.dimensions);
  const { layers, others } = foldedLayers(graph, options);
  const statistics = await statisticsOf(model, graph, layers, batches, options, runtime);
  const measured = layers.map((layer, i): MeasuredLayer => ({ layer, statistics: at(statistics, i) }));
  const recovered = withBatchNorm(model, measured);
  const difference = await formDifference(model, recovered, batches, options, runtime);
  if (!(difference.inference <= mostRounding)) {
    throw new SorthError(
      `with its BatchNorm back the model computes something else: its outputs differ by ${percent(difference.inference)} (please report this)`,
    );
  }
  onMessage?.(
    `BatchNorm recovered behind ${layers.length} of ${layers.length + others.length} layers from ${batches.samples} samples: the outputs stay the same (they differ by ${difference.inference.toExponential(1)}); normalized by batches of ${batches.size}, as in training, they differ by ${percent(difference.training)} at the start`,
  );
  return recovered;
}

const percent = (share: number): string => `${(100 * share).toPrecision(2)} %`;

const at = <T>(list: readonly T[], i: number): T => list[i] as T;

/** Mean and variance of each layer's response, one number per unit: batches are joined in float64 (Chan, Golub, LeVeque). */
async function statisticsOf(
  model: Model,
  graph: Graph,
  layers: readonly FoldedLayer[],
  batches: MeasuredBatches,
  options: SessionOptions & { readonly backend?: string },
  runtime: TrainerRuntime,
): Promise<ResponseStatistics[]> {
  const emit = new Emit(graph, { prefix: stepPrefix });
  const values = layers.map(({ response }) => batchStatistics(emit, typed(response)));
  const sums = layers.map(({ units }) => ({
    mean: new Float64Array(units),
    squares: new Float64Array(units),
  }));
  graph.outputs.splice(0, Infinity, ...values.flatMap(({ mean, variance }) => [mean, variance]));
  let before = 0;
  for await (const results of resultsOf(graph, model, batches, options, runtime)) {
    values.forEach(({ mean, variance }, l) => {
      const [m, v] = [mean, variance].map(({ name }) => results.get(name)?.data as Float32Array);
      const { mean: total, squares } = at(sums, l);
      const rows = elementCount(at(layers, l).response.shape ?? []) / total.length;
      for (let i = 0; i < total.length; i++) {
        const difference = (m?.[i] as number) - (total[i] as number);
        const weight = before / (before + 1);
        total[i] = (total[i] as number) + difference / (before + 1);
        squares[i] =
          (squares[i] as number) + rows * (v?.[i] as number) + difference * difference * rows * weight;
      }
    });
    before += 1;
  }
  return sums.map(({ mean, squares }, l) => {
    const { response, units, name } = at(layers, l);
    const rows = (elementCount(response.shape ?? []) / units) * before;
    const variance = squares.map((sum) => sum / rows);
    if (mean.every(Number.isFinite) && variance.every(Number.isFinite)) return { mean, variance };
    throw new DataError(`the results of layer "${name}" are no finite numbers on these data`);
  });
}

/** The outputs of the model and of the one with its BatchNorm back, on one batch: root mean square of the difference over that of the outputs. */
async function formDifference(
  model: Model,
  recovered: Model,
  batches: MeasuredBatches,
  options: SessionOptions & { readonly backend?: string },
  runtime: TrainerRuntime,
): Promise<{ readonly inference: number; readonly training: number }> {
  const training = inferenceForm(recovered);
  await inferShapes(training, runtime.probe, batches.dimensions);
  const known = new Set(graphOf(model).nodes.map(({ label }) => label));
  const emit = new Emit(training, { prefix: stepPrefix });
  const added = training.nodes.filter(({ op, label }) => op === "BatchNormalization" && !known.has(label));
  for (const node of added) {
    const [x, scale, bias] = node.inputs.map((input) => input && typed(input));
    const [y] = node.outputs;
    if (!x || !scale || !bias || !y) continue;
    training.replaceUses(y, normalizeBatch(emit, node, x, scale, bias), { outputs: true });
  }
  const outputs: (readonly number[])[] = [];
  for (const graph of [inferenceForm(model), inferenceForm(recovered), training]) {
    const floats = graph.outputs.filter(({ type }) => type === undefined || isFloat(type));
    graph.outputs.splice(0, Infinity, ...floats);
    for await (const results of resultsOf(graph, model, batches, options, runtime, 1)) {
      outputs.push(graph.outputs.flatMap(({ name }) => Array.from(results.get(name)?.numbers() ?? [])));
    }
  }
  const [first = [], second = [], third = []] = outputs;
  return { inference: distance(first, second), training: distance(first, third) };
}

function distance(from: readonly number[], to: readonly number[]): number {
  let [difference, size] = [0, 0];
  from.forEach((number, i) => {
    difference += (number - (to[i] as number)) ** 2;
    size += number * number;
  });
  return size === 0 ? difference : Math.sqrt(difference / size);
}
