import type { DimensionOptions } from "../analysis/dimensions.ts";
import { inferShapes } from "../analysis/infer.ts";
import type { Probe } from "../analysis/probe.ts";
import type { Site, SiteOp, SkippedSite } from "../analysis/site-types.ts";
import { findSites } from "../analysis/sites.ts";
import { checkNoArtifact } from "../artifacts/training-model.ts";
import { UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import { graphToProto } from "../graph/proto.ts";
import { encodeModelProto } from "../onnx/codec.ts";
import type { Model } from "../onnx/model.ts";
import { elementCount, type Tensor } from "../onnx/tensor.ts";
import { epsilon } from "../penalties/som-options.ts";
import {
  type AngleStatistics,
  angleStatistics,
  randomSpread,
  responseAngleStatistics,
} from "./angle-statistics.ts";
import { parameterValue } from "./parameter-value.ts";
import { addResponseGrams } from "./response-gram.ts";
import { type Feeds, sampleChunks } from "./sample-chunks.ts";
import { unitVectors, weightOperand } from "./unit-vectors.ts";

export type { Feeds } from "./sample-chunks.ts";

/** The angles between the units of one layer, in degrees. */
export interface LayerAngles extends AngleStatistics {
  readonly name: string;
  readonly op: SiteOp;
  /** k: number of units. */
  readonly units: number;
  /** d: numbers in one unit's weight vector. */
  readonly fanIn: number;
  readonly groups: number;
}

/** Weight angles of one layer. */
export interface LayerWeightAngles extends LayerAngles {
  /** Spread that random weights of this fan-in have; orthogonal ones have 0. */
  readonly random: number;
}

/** Response angles of one layer. */
export interface LayerResponseAngles extends LayerAngles {
  /** Rows (samples × positions) over which responses were compared. */
  readonly rows: number;
}

/** Angles of a model's layers, in the order of its nodes. */
export interface AngleReport<Layer extends LayerAngles> {
  readonly layers: readonly Layer[];
  /** Layers without angles, and why. */
  readonly skipped: readonly SkippedSite[];
}

/** Options of {@link responseAngles}. */
export interface ResponseAngleOptions {
  /** Steepness of tanh(γY), as in the penalty (default 10). */
  readonly gamma?: number;
  /** Samples run at once, where the model leaves its batch open (default 64). */
  readonly batch?: number;
}

/**
 * Angles between the weight vectors of each layer's units: 90° for orthogonal ones. Biases take no part.
 * @throws SorthError when ONNX Runtime refuses the model, or a dimension is neither fixed nor given.
 *
 * @example
 * for (const { name, mean, spread } of (await weightAngles(model, {}, nodeProbe)).layers) {
 *   console.log(`${name}: ${mean.toFixed(1)}° ± ${spread.toFixed(1)}°`);
 * }
 */
export async function weightAngles(
  model: Model,
  options: DimensionOptions,
  probe: Probe,
): Promise<AngleReport<LayerWeightAngles>> {
  const graph = graphOf(model);
  checkNoArtifact(graph);
  await inferShapes(graph, probe, options);
  const { sites, skipped } = findSites(graph);
  const layers: LayerWeightAngles[] = [];
  for (const site of sites) {
    const { operand, right } = weightOperand(graph, site);
    const weight = await parameterValue(graph, operand, probe);
    if (!weight) {
      skipped.push({ ...layerOf(site), reason: "its weight is an input of the model" });
      continue;
    }
    const matrix = unitVectors(site, weight, right);
    if (!matrix.data.every(Number.isFinite)) {
      skipped.push({ ...layerOf(site), reason: "its weight holds NaN or Infinity" });
      continue;
    }
    layers.push({ ...fieldsOf(site), ...angleStatistics(matrix), random: randomSpread(site.fanIn) });
  }
  return { layers, skipped };
}

/**
 * Angles between the responses of each layer's units on given data: (π/2)(1 − ϑ) with ϑ the correlation of the
 * tanh-squashed responses (DESIGN §3), over all samples. These are not the weight angles (DESIGN §3, exact LSH).
 *
 * @param data - by name, every input of the model, samples on the first axis. They are run in chunks; where the model
 *   fixes its batch, samples behind the last whole batch are left out
 * @throws SorthError when an input is missing or does not fit, or ONNX Runtime refuses the model.
 *
 * @example
 * const { test } = await loadMnist();
 * const { layers } = await responseAngles(model, sampleFeeds(model, test, 256), {}, nodeProbe);
 */
export async function responseAngles(
  model: Model,
  data: Feeds,
  options: ResponseAngleOptions,
  probe: Probe,
): Promise<AngleReport<LayerResponseAngles>> {
  const { gamma = 10, batch = 64 } = options;
  if (!(gamma > 0)) throw new UsageError(`gamma must be above 0, not ${gamma}`);
  if (!Number.isInteger(batch) || batch < 1) throw new UsageError(`batch must be 1 or more, not ${batch}`);
  const graph = graphOf(model);
  checkNoArtifact(graph);
  const { chunks, dimensions } = sampleChunks(graph, data, batch);
  await inferShapes(graph, probe, dimensions);
  const { sites, skipped } = findSites(graph);
  const grams = await sumOfGrams(graph, sites, gamma, chunks, probe);
  const layers: LayerResponseAngles[] = [];
  sites.forEach((site, index) => {
    const gram = grams[index] ?? new Float64Array();
    if (!gram.every(Number.isFinite)) {
      skipped.push({ ...layerOf(site), reason: "its responses hold NaN" });
      return;
    }
    const statistics = responseAngleStatistics(gram, site.units, site.groups, epsilon);
    const rows = dimensions.batch === undefined ? site.rows * chunks.length : site.rows;
    layers.push({ ...fieldsOf(site), ...statistics, rows });
  });
  return { layers, skipped };
}

/** The sites' Gram matrices of tanh-squashed responses, summed over all chunks in float64. */
async function sumOfGrams(
  graph: Graph,
  sites: readonly Site[],
  gamma: number,
  chunks: readonly ReadonlyMap<string, Tensor>[],
  probe: Probe,
): Promise<Float64Array[]> {
  if (sites.length === 0) return [];
  const values = addResponseGrams(graph, sites, gamma);
  graph.outputs.splice(0, Infinity, ...values);
  // Chunks differ in size: the batch stays open in the file.
  for (const input of graph.inputs) input.shape = undefined;
  const bytes = encodeModelProto(graphToProto(graph));
  const sums = values.map((value) => new Float64Array(elementCount(value.shape)));
  for (const chunk of chunks) {
    const results = await probe.run(bytes, chunk);
    values.forEach(({ name }, index) => {
      const gram = results.get(name)?.data as Float32Array | Float64Array;
      const sum = sums[index] as Float64Array;
      for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + (gram[i] as number);
    });
  }
  return sums;
}

const layerOf = ({ name, op }: Site): Pick<SkippedSite, "name" | "op"> => ({ name, op });

const fieldsOf = ({ name, op, units, fanIn, groups }: Site) => ({ name, op, units, fanIn, groups });
