import { seedDraws } from "../analysis/drawing-operators.ts";
import { hiddenLayers } from "../analysis/hidden-sites.ts";
import { inferShapes } from "../analysis/infer.ts";
import type { Probe } from "../analysis/probe.ts";
import type { Site } from "../analysis/site-types.ts";
import { findSites } from "../analysis/sites.ts";
import { mayBeMiscomputed } from "../analysis/unsafe-forms.ts";
import { checkNoArtifact } from "../artifacts/training-model.ts";
import { UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf, modelOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { checkNumber, count } from "../numbers.ts";
import type { Model } from "../onnx/model.ts";
import { byteLengthOf, elementCount, type Tensor } from "../onnx/tensor.ts";
import { writeOutBodies } from "../passes/expansion/expand-bodies.ts";
import { inlineFunctions } from "../passes/expansion/inline-functions.ts";
import { writeOutLayers } from "../passes/expansion/write-out-layers.ts";
import { runGraphPass } from "../passes/pass.ts";
import { epsilon } from "../penalties/som-options.ts";
import { whatIs } from "../what-is.ts";
import { angleNames } from "./angle-names.ts";
import { welchBound } from "./angle-references.ts";
import type { AngleReport, LayerResponseAngles, ResponseAngleOptions } from "./angle-report.ts";
import { type AngleStatistics, PairCollector, type PairOptions } from "./pair-statistics.ts";
import { addResponseSums, type ResponseSums } from "./response-gram.ts";
import { mostSums } from "./response-memory.ts";
import { type Feeds, sampleChunks } from "./sample-chunks.ts";
import { affordableUnits, type RunLimits, sampledIndices, unitSample } from "./unit-sample.ts";

const optionNames = {
  ...{ ...angleNames, gamma: true, batch: true, cosines: "flag", most: true },
} as const satisfies OptionNames<ResponseAngleOptions & RunLimits & { readonly most?: number }>;

/**
 * Measures the angles between the responses of the units of each layer on given data. `Library.responseAngles` documents it.
 * @param options - `most`: the number of samples that take part, if it is less than that of the data
 * @param choose - takes other sites than those that are found
 */
export async function responseAngles(
  model: Model,
  data: Feeds,
  options: ResponseAngleOptions & RunLimits & { readonly most?: number },
  probe: Probe,
  choose: (graph: Graph, sites: readonly Site[]) => readonly Site[] = (_, sites) => sites,
): Promise<AngleReport<LayerResponseAngles>> {
  checkKnown("responseAngles", options, optionNames);
  const { gamma = 10, batch = 64 } = options;
  if (!(typeof gamma === "number" && gamma > 0)) {
    throw new UsageError(`gamma must be above 0, not ${whatIs(gamma)}`);
  }
  checkNumber("batch", batch, count);
  checkNumber("bins", options.bins, count);
  checkNumber("mapSize", options.mapSize, count);
  const graph = graphOf(model);
  checkNoArtifact(graph);
  runGraphPass(inlineFunctions({ external: model.external }), graph);
  seedDraws(graph);
  await writeOutLayers(graph);
  const { chunks, samples, dimensions } = sampleChunks(graph, data, batch, options.most);
  await writeOutBodies(graph, model, probe);
  await inferShapes(graph, probe, dimensions);
  const found = findSites(graph, { leastRows: 2, hidden: hiddenLayers(graph) });
  const sites = choose(graph, found.sites);
  const { skipped } = found;
  const rowsOf = ({ rows }: Site) => (dimensions.batch === undefined ? rows * chunks.length : rows);
  const forward = sites.reduce((sum, site) => sum + rowsOf(site) * site.units * site.fanIn, 0);
  const affordable = Math.max(1, Math.floor(samples * ((options.forward ?? forward) / forward)));
  if (affordable < samples && options.most === undefined) {
    options.onLimit?.(`responses to ${affordable} of ${samples} samples`);
    return responseAngles(model, data, { ...options, most: affordable }, probe, choose);
  }
  // Each chunk adds its products.
  const works = sites.map(({ units, groups, rows }) => ({ units, groups, length: rows * chunks.length }));
  const mostUnits = affordableUnits(works, probe, options);
  const measured = sumsOf(model, graph, sites, { gamma, mostUnits }, chunks, probe);
  const layers: LayerResponseAngles[] = [];
  for await (const { site, gram, saturated, places } of measured) {
    const { name, op, units, fanIn, groups } = site;
    options.onLayer?.(name);
    if (!gram.every(Number.isFinite)) {
      skipped.push({ name, op, reason: "its responses hold NaN" });
      continue;
    }
    const rows = rowsOf(site);
    const taken = { units: places ? places.length * groups : units, groups };
    const { statistics, meanSquare } = responseStatistics(gram, taken, {
      indices: places && sampledIndices(places, units, groups),
      ...{ bins: options.bins, mapSize: options.mapSize },
    });
    const standardError = 90 * Math.sqrt((1 - meanSquare) / rows);
    layers.push({
      ...{ name, op, units, fanIn, groups, rows },
      ...statistics,
      welchBound: welchBound(units / groups, rows),
      standardError,
      spreadWithoutError: Math.sqrt(Math.max(statistics.spread ** 2 - standardError ** 2, 0)),
      saturation: saturated / (units * rows),
      gradientFactor: 1 - traceOf(gram, taken) / (taken.units * rows),
      ...(options.cosines && { cosines: responseCosines(gram, taken) }),
    });
  }
  return { layers, skipped };
}

interface SiteSums {
  readonly site: Site;
  /** Places of the sampled units within a group; undefined for all units. */
  readonly places: Uint32Array | undefined;
  /** [groups, taken, taken] */
  readonly gram: Float64Array;
  saturated: number;
}

/** The sites' Gram matrices of tanh-squashed responses, summed over all chunks in float64. */
async function* sumsOf(
  model: Model,
  graph: Graph,
  sites: readonly Site[],
  { gamma, mostUnits }: { gamma: number; mostUnits: number },
  chunks: readonly ReadonlyMap<string, Tensor>[],
  probe: Probe,
): AsyncGenerator<SiteSums> {
  if (sites.length === 0) return;
  const values = addResponseSums(
    graph,
    sites.map((site) => ({ site, places: unitSample(site.units, site.groups, mostUnits) })),
    gamma,
  );
  graph.outputs.splice(0, Infinity, ...outputsOf(values));
  if (mayBeMiscomputed(graph)) (await import("../passes/training/sidestep-faults.ts")).sidestepFaults(graph);
  // Chunks differ in size, so the file must leave the batch open.
  for (const input of graph.inputs) input.shape = undefined;
  const weights = largeMatrices(graph);
  for (const value of weights.keys()) {
    value.initializer = undefined;
    if (!graph.inputs.includes(value)) graph.inputs.push(value);
  }
  const fed = [...weights].map(([{ name }, tensor]) => [name, tensor] as const);
  for (const group of together(values)) {
    const summing = group.length === values.length ? modelOf(graph, model) : partOf(graph, group, model);
    const sums = group.map(
      ({ site, places, gram }): SiteSums => ({
        ...{ site, places, saturated: 0 },
        gram: new Float64Array(elementCount(gram.shape)),
      }),
    );
    for (const chunk of chunks) {
      const results = await probe.run(summing, new Map([...chunk, ...fed]));
      group.forEach(({ gram, saturated }, index) => {
        const part = results.get(gram.name)?.data as Float32Array | Float64Array;
        const sum = sums[index] as SiteSums;
        for (let i = 0; i < sum.gram.length; i++) sum.gram[i] = (sum.gram[i] as number) + (part[i] as number);
        sum.saturated += results.get(saturated.name)?.numbers()[0] ?? Number.NaN;
      });
    }
    yield* sums;
  }
}

const outputsOf = (values: readonly ResponseSums[]): Value[] =>
  values.flatMap(({ gram, saturated }) => [gram, saturated]);

/** Layers whose Gram matrices take at most {@link mostSums} together, or a single layer. */
function together(values: readonly ResponseSums[]): ResponseSums[][] {
  const groups: ResponseSums[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const one of values) {
    const own = elementCount(one.gram.shape) * Float64Array.BYTES_PER_ELEMENT;
    bytes += own;
    if (bytes > mostSums) {
      groups.push([]);
      bytes = own;
    }
    groups.at(-1)?.push(one);
  }
  return groups;
}

/** The part of the graph that computes the sums of some layers. */
function partOf(graph: Graph, values: readonly ResponseSums[], model: Model): Model {
  graph.outputs.splice(0, Infinity, ...outputsOf(values));
  const part = graphOf(modelOf(graph, model));
  part.prune();
  return modelOf(part, model);
}

/** Bytes of matrices in memory from which the session gets them as inputs. */
const largeModel = 64 * 2 ** 20;

/**
 * The matrices of a large model that are in memory: as inputs they are not copied, as initializers five times (the session's file,
 * its message, its tensors). Kernels of convolutions stay initializers, for which ONNX Runtime chooses a faster form.
 */
function largeMatrices(graph: Graph): Map<Value, Tensor> {
  const found = new Map(
    graph.initializers.flatMap((value) => {
      const { initializer } = value;
      const isOne = initializer?.type === "float" && initializer.dims.length === 2 && initializer.isInMemory;
      return isOne ? [[value, initializer] as const] : [];
    }),
  );
  const bytes = [...found.values()].reduce((sum, { type, dims }) => sum + byteLengthOf(type, dims), 0);
  return bytes < largeModel ? new Map() : found;
}

/**
 * Response angles (π/2)(1 − ϑ) from the Gram matrices K of tanh-squashed responses, where ϑᵢⱼ = Kᵢⱼ/√(KᵢᵢKⱼⱼ) (DESIGN §3):
 * 0° for responses that always agree in sign, 180° for opposite ones, 90° for uncorrelated ones. A unit with Kᵢᵢ ≤ ε is dead.
 *
 * @param gram - [groups, units/groups, units/groups]
 * @returns the angles, and the mean of ϑ²
 */
export function responseStatistics(
  gram: Float64Array,
  { units, groups }: { readonly units: number; readonly groups: number },
  options: Pick<PairOptions, "indices" | "bins" | "mapSize"> = {},
): { statistics: AngleStatistics; meanSquare: number } {
  const size = units / groups;
  const norms = responseNorms(gram, { units, groups });
  const collector = new PairCollector({ norms, angleOf: (cosine) => 90 * (1 - cosine), ...options });
  for (let group = 0; group < groups; group++) {
    const first = group * size;
    const products = gram.subarray(first * size, (first + size) * size);
    collector.add({ row: first, column: first, rows: size, columns: size, products });
  }
  const dead = [...norms.keys()].filter((unit) => norms[unit] === 0);
  const statistics = collector.statistics(dead.map((unit) => options.indices?.[unit] ?? unit));
  return { statistics, meanSquare: collector.squares.cosines / statistics.pairs };
}

/** √(Kᵢᵢ + ε) of each unit; 0 for dead ones. */
function responseNorms(
  gram: Float64Array,
  { units, groups }: { units: number; groups: number },
): Float64Array {
  const size = units / groups;
  return Float64Array.from({ length: units }, (_, unit) => {
    const own = gram[unit * size + (unit % size)] as number;
    return own > epsilon ? Math.sqrt(own + epsilon) : 0;
  });
}

/** ϑᵢⱼ of every two units of each group; 0 if one of them is dead. */
function responseCosines(gram: Float64Array, taken: { units: number; groups: number }): Float32Array {
  const size = taken.units / taken.groups;
  const norms = responseNorms(gram, taken);
  return Float32Array.from(gram, (product, at) => {
    const i = Math.floor(at / size);
    const j = Math.floor(i / size) * size + (at % size);
    const scale = (norms[i] as number) * (norms[j] as number);
    return scale > 0 ? Math.min(Math.max(product / scale, -1), 1) : 0;
  });
}

function traceOf(gram: Float64Array, { units, groups }: { units: number; groups: number }): number {
  const size = units / groups;
  let trace = 0;
  for (let unit = 0; unit < units; unit++) trace += gram[unit * size + (unit % size)] as number;
  return trace;
}
