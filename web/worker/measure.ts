import {
  type Dataset,
  type EvaluationResult,
  type LayerResponseAngles,
  type LayerWeightAngles,
  type Trainer,
  type TrainerAngles,
  trainerAngles,
  UsageError,
} from "../../src/web.ts";
import { distanceFromRight } from "../history.ts";
import type {
  AngleFigures,
  CosineMatrix,
  FilterPictures,
  LayerAngles,
  Measurement,
  RunName,
  Settings,
} from "../protocol.ts";
import type { OpenedModel } from "./open-model.ts";

/** Parts of a measurement besides the trainer. */
export interface Measured {
  readonly opened: OpenedModel;
  readonly settings: Settings;
  readonly test: Dataset;
  /** The layer whose cosines are sent. */
  readonly layer: string | undefined;
}

/** Least number of samples for comparing responses; a whole batch if that is more. */
const responseSamples = 256;
/** Most units of a heat map, and most pictures of filters. */
const most = 256;

/** Current figures of one run: on the test samples, and of every layer. */
export async function measure(run: RunName, trainer: Trainer, measured: Measured): Promise<Measurement> {
  const { opened, settings, test, layer } = measured;
  const { loss, accuracy } = (await testFigures(trainer, test)) ?? {};
  const batch = trainer.step.ports.inputs[0]?.shape[0] ?? settings.batch;
  const angles = await trainerAngles(trainer, test, {
    ...{ samples: Math.max(responseSamples, batch), gamma: settings.som.gamma, vectors: true, cosines: true },
  });
  const layers = angles.flatMap(layerOf);
  return {
    run,
    test: {
      step: trainer.steps,
      ...{ loss, accuracy },
      weightDistance: meanDistance(layers.map(({ weight }) => weight)),
      responseDistance: meanDistance(layers.map(({ response }) => response)),
    },
    layers,
    cosines: cosinesOf(angles.find(({ name }) => name === layer)?.responses),
    filters: filtersOf(angles.find(({ weights }) => weights)?.weights, trainer, opened),
  };
}

/** Loss and accuracy on the test samples; undefined if the model's own loss needs a whole batch and they do not fill one. */
async function testFigures(trainer: Trainer, test: Dataset): Promise<EvaluationResult | undefined> {
  try {
    return await trainer.evaluate(test);
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}

/** The part of a layer's angles that is sent to the page. */
function layerOf({ name, weights, responses }: TrainerAngles): LayerAngles[] {
  const any = weights ?? responses;
  if (!any) return [];
  const { op, units, fanIn } = any;
  return [{ name, op, units, fanIn, weight: figuresOf(weights), response: figuresOf(responses) }];
}

/** The part of the statistics that is sent; undefined if there is no pair of units. */
function figuresOf(statistics: AngleFigures | undefined): AngleFigures | undefined {
  if (!statistics || statistics.pairs === 0) return undefined;
  const { mean, spread, pairs, dead, histogram } = statistics;
  return { mean, spread, pairs, dead, histogram };
}

function meanDistance(figures: readonly (AngleFigures | undefined)[]): number | undefined {
  const distances = figures.flatMap((one) => (one ? [distanceFromRight(one)] : []));
  return distances.length === 0 ? undefined : distances.reduce((a, b) => a + b, 0) / distances.length;
}

/** The cosines of a layer's first units; for a grouped convolution, those of its first group. */
function cosinesOf(layer: LayerResponseAngles | undefined): CosineMatrix | undefined {
  if (!layer?.cosines) return undefined;
  const { name, units, groups, cosines } = layer;
  // The library samples the units of a large layer.
  const own = Math.sqrt(cosines.length / groups);
  const size = Math.min(own, most);
  const values = new Float32Array(size * size);
  for (let row = 0; row < size; row++) {
    values.set(cosines.subarray(row * own, row * own + size), row * size);
  }
  return { layer: name, size, units, values };
}

/** The first layer's weights as pictures: kernels of a 2-D convolution, or weights of a layer whose input is an image. */
function filtersOf(
  layer: LayerWeightAngles | undefined,
  trainer: Trainer,
  { inspection }: OpenedModel,
): FilterPictures | undefined {
  if (!layer?.vectors) return undefined;
  const { name, op, fanIn, vectors } = layer;
  const input = trainer.step.ports.inputs[0]?.shape.slice(1) ?? [];
  const site = inspection.sites.find((one) => one.name === name);
  const port = trainer.step.ports.parameters.find((parameter) => parameter.name === site?.weight);
  const [, ...kernel] = op === "Conv" ? (port?.layout?.shape ?? port?.shape ?? []) : [0, ...input];
  const [depth = 0, height = 0, width = 0, ...others] = kernel;
  if (others.length > 0 || height * width < 4 || depth * height * width !== fanIn) return undefined;
  // A kernel with other than three channels shows its first one.
  const channels = depth === 3 ? 3 : 1;
  const size = channels * height * width;
  const units = Math.min(layer.units, most);
  const values = new Float32Array(units * size);
  for (let unit = 0; unit < units; unit++) {
    values.set(vectors.subarray(unit * fanIn, unit * fanIn + size), unit * size);
  }
  return { layer: name, units, channels, height, width, values };
}
