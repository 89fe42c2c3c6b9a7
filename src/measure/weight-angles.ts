import type { DimensionOptions } from "../analysis/dimensions.ts";
import { hiddenLayers } from "../analysis/hidden-sites.ts";
import { inferShapes } from "../analysis/infer.ts";
import { dimensionNames } from "../analysis/option-names.ts";
import { parameterValue } from "../analysis/parameter-value.ts";
import type { Probe } from "../analysis/probe.ts";
import type { Site } from "../analysis/site-types.ts";
import { findSites } from "../analysis/sites.ts";
import { checkNoArtifact } from "../artifacts/training-model.ts";
import { messageOf } from "../errors.ts";
import { given } from "../given.ts";
import { graphOf } from "../graph/model-graph.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { checkNumber, count } from "../numbers.ts";
import type { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { inlineFunctions } from "../passes/expansion/inline-functions.ts";
import { liftBodyConstants } from "../passes/expansion/lift-body-constants.ts";
import { writeOutLayers } from "../passes/expansion/write-out-layers.ts";
import { runGraphPass } from "../passes/pass.ts";
import { weightOf } from "../penalties/layer.ts";
import { angleNames } from "./angle-names.ts";
import { randomSpread, welchBound } from "./angle-references.ts";
import type { AngleOptions, AngleReport, LayerWeightAngles, Orthogonality } from "./angle-report.ts";
import { convolutionOf, convolutionSpectrum } from "./convolution-spectrum.ts";
import { gramBlocks } from "./gram.ts";
import { type AngleStatistics, PairCollector } from "./pair-statistics.ts";
import { SameWeights } from "./same-weights.ts";
import {
  isComputed,
  type NotComputed,
  type Spectrum,
  type SpectrumBudget,
  spectrumBudget,
  spectrumOf,
} from "./spectrum.ts";
import {
  affordableUnits,
  mostUnits,
  type RunLimits,
  sampledIndices,
  sampledMatrix,
  unitSample,
} from "./unit-sample.ts";
import { type UnitMatrix, unitVectors } from "./unit-vectors.ts";

/** Options of {@link weightAngles}. */
export interface WeightAngleOptions extends DimensionOptions, AngleOptions {
  /** Also computes singular values (default true); without them a small network takes milliseconds. */
  readonly spectra?: boolean;
  /** Also returns the weight vectors (default false). */
  readonly vectors?: boolean;
}

const optionNames = {
  ...{ ...dimensionNames, ...angleNames, spectra: "flag", vectors: "flag" },
} as const satisfies OptionNames<WeightAngleOptions & RunLimits>;

/** Measures the angles between the weight vectors of the units of each layer. `Library.weightAngles` documents it. */
export async function weightAngles(
  model: Model,
  options: WeightAngleOptions & RunLimits,
  probe: Probe,
): Promise<AngleReport<LayerWeightAngles>> {
  checkKnown("weightAngles", options, optionNames);
  checkNumber("bins", options.bins, count);
  checkNumber("mapSize", options.mapSize, count);
  const { batch, dims } = options;
  const graph = graphOf(model);
  checkNoArtifact(graph);
  runGraphPass(inlineFunctions({ external: model.external }), graph);
  runGraphPass(liftBodyConstants({ external: model.external }), graph);
  await writeOutLayers(graph);
  // Weight angles do not depend on the lengths of the data.
  await inferShapes(graph, probe, { ...given({ batch, dims }), open: true });
  // Weight angles do not depend on the number of rows of the responses.
  const { sites, skipped } = findSites(graph, {
    openResponses: true,
    hidden: hiddenLayers(graph),
    inBodies: true,
  });
  const same = new SameWeights();
  const firsts = new Map<string, Site>();
  const keyed = sites.map((site) => {
    const key = same.keyOf(site);
    if (!firsts.has(key)) firsts.set(key, site);
    return { site, key };
  });
  const distinct = [...firsts.values()];
  const budget = {
    ...spectrumBudget(distinct, options.full ?? false),
    units: affordableUnits(
      distinct.map(({ units, groups, fanIn }) => ({ units, groups, length: fanIn })),
      probe,
      options,
    ),
  };
  const layers: LayerWeightAngles[] = [];
  const known = new Map<string, LayerWeightAngles | string>();
  for (const { site, key } of keyed) {
    const { name, op } = site;
    options.onLayer?.(name);
    const found = known.get(key) ?? (await anglesOf(site));
    known.set(key, found);
    if (typeof found === "string") skipped.push({ name, op, reason: found });
    else layers.push({ ...found, name });
  }
  return { layers, skipped };

  /** The angles of a layer, or why there are none. */
  async function anglesOf(site: Site): Promise<LayerWeightAngles | string> {
    const operand = weightOf(site);
    // A model of many large layers is read one layer at a time.
    const weight = operand && (await parameterValue(graph, operand, probe))?.unkept();
    if (!weight) return "its weight is an input of the model";
    const matrix = unitVectors(site, weight);
    if (!areFinite(matrix.data)) return "its weight holds NaN or Infinity";
    try {
      return await layerAngles(site, { weight, matrix, budget }, options, probe);
    } catch (error) {
      // A layer that cannot be measured must not lose the other layers.
      return messageOf(error);
    }
  }
}

async function layerAngles(
  site: Site,
  {
    weight,
    matrix,
    budget,
  }: { weight: Tensor; matrix: UnitMatrix; budget: SpectrumBudget & { readonly units: number } },
  options: WeightAngleOptions,
  probe: Probe,
): Promise<LayerWeightAngles> {
  const { name, op, units, fanIn, groups } = site;
  const { spectra = true } = options;
  const spectrum = spectra ? await spectrumOf(matrix, probe, budget.matrices.has(site)) : undefined;
  const { statistics, orthogonality } = await unitAngles(
    matrix,
    { ...options, mostUnits: budget.units, spectrum },
    probe,
  );
  const convolves = spectra && (op === "Conv" || op === "ConvTranspose");
  return {
    ...{ name, op, units, fanIn, groups },
    ...statistics,
    welchBound: welchBound(units / groups, fanIn),
    random: randomSpread(fanIn),
    randomCosine: 1 / Math.sqrt(fanIn),
    orthogonality,
    ...(spectrum && { spectrum }),
    ...(convolves && {
      convolution: site.node.inputs[0]?.shape
        ? convolutionSpectrum(convolutionOf(site, weight.numbers(), weight.dims), budget.convolution)
        : {
            notComputed: site.body
              ? `the size of its input is known only inside the ${site.body.holder.op} "${site.body.holder.label}"`
              : "the size of its input is open: give it with --dim",
          },
    }),
    ...(options.vectors && { vectors: matrix.data }),
  };
}

/** Whether all numbers are finite: a loop takes a fifth of the time of a callback, and a model has millions of them. */
function areFinite(numbers: ArrayLike<number>): boolean {
  for (let i = 0; i < numbers.length; i++) if (!Number.isFinite(numbers[i])) return false;
  return true;
}

const degreesOf = (cosine: number): number => (Math.acos(cosine) * 180) / Math.PI;

/**
 * The angles between the rows of a matrix, within its groups.
 * @param options - `mostUnits`: with more units, pairs of a sample; `spectrum`: singular values, which give the deviation from orthonormal units if pairs are sampled
 *
 * @example
 * // Rows (1, 0), (0, 1), (1, 1)
 * const matrix = { units: 3, fanIn: 2, groups: 1, data: Float64Array.of(1, 0, 0, 1, 1, 1) };
 * (await unitAngles(matrix, {}, nodeProbe)).statistics.mean; // 60
 */
export async function unitAngles(
  matrix: UnitMatrix,
  options: Omit<AngleOptions, "full"> & {
    readonly mostUnits?: number;
    readonly spectrum?: Spectrum | NotComputed | undefined;
  },
  probe: Probe,
): Promise<{ statistics: AngleStatistics; orthogonality: Orthogonality }> {
  const { units, fanIn, groups, data } = matrix;
  const norms = Float64Array.from({ length: units }, (_, unit) => norm(data, unit * fanIn, fanIn));
  const places = unitSample(units, groups, options.mostUnits ?? mostUnits);
  const indices = places && sampledIndices(places, units, groups);
  const collector = new PairCollector({
    norms: indices ? Float64Array.from(indices, (unit) => norms[unit] as number) : norms,
    angleOf: degreesOf,
    ...{ indices, bins: options.bins, mapSize: options.mapSize },
  });
  const part = indices ? sampledMatrix(matrix, indices) : matrix;
  for await (const block of gramBlocks(part, probe)) collector.add(block);
  const dead = [...norms.keys()].filter((unit) => norms[unit] === 0);
  return {
    statistics: collector.statistics(dead),
    orthogonality: {
      ...(indices
        ? { deviation: deviationOf(options.spectrum, units), normalized: Number.NaN }
        : deviations(collector, norms, dead.length)),
      normalizedBound: Math.sqrt(Math.max((units * (units / groups - fanIn)) / fanIn, 0)),
    },
  };
}

/** ‖WᵀW − I‖ and its normalized form, from all products of different units and the units' lengths. */
function deviations(
  { squares }: PairCollector,
  norms: Float64Array,
  dead: number,
): { deviation: number; normalized: number } {
  const diagonal = norms.reduce((sum, length) => sum + (length * length - 1) ** 2, 0);
  return {
    deviation: Math.sqrt(2 * squares.products + diagonal),
    normalized: Math.sqrt(2 * squares.cosines + dead),
  };
}

/** ‖WᵀW − I‖² = Σ(σ² − 1)², with a 0 for each unit beyond the number of singular values. */
function deviationOf(spectrum: Spectrum | NotComputed | undefined, units: number): number {
  if (!spectrum || !isComputed(spectrum)) return Number.NaN;
  const { singularValues, count } = spectrum;
  return Math.sqrt(singularValues.reduce((sum, value) => sum + (value * value - 1) ** 2, units - count));
}

/** Length of a vector inside an array. */
function norm(data: Float32Array | Float64Array, start: number, length: number): number {
  let sum = 0;
  for (let i = start; i < start + length; i++) sum += (data[i] as number) ** 2;
  return Math.sqrt(sum);
}
