import { conversionOf } from "../../src/data/conversion.ts";
import { objectiveNamed, objectiveNames } from "../../src/losses/table.ts";
import { chain } from "../../src/optimizers/chain.ts";
import { clippings, optimizerNamed } from "../../src/optimizers/table.ts";

import {
  imagenet,
  type Model,
  type Normalization,
  type PenaltyPlan,
  som,
  type TrainerOptions,
} from "../../src/web.ts";
import type { NormalizationChoice, RunName, Settings } from "../protocol.ts";

import type { OpenedModel } from "./open-model.ts";

/** Prefix of the name under which the page lists a loss of the model's own. */
const own = "output ";

/** Losses that can train a model; the usual one first. */
export function lossesOf({ inspection, rescued }: OpenedModel): string[] {
  if (rescued) return [`${own}${rescued.plain.options.loss}`];
  const { inputs, outputs } = inspection;
  const scalar = (shape: readonly (number | string)[]) => shape.every((dim) => dim === 1);
  const losses = outputs
    .filter(({ type, shape }) => /^(float|double|float16|bfloat16)$/.test(type) && scalar(shape))
    .map(({ name }) => `${own}${name}`);
  const { shape = [] } = outputs[0] ?? {};
  // The page reads no texts.
  const names = objectiveNames.filter((name) => !name.endsWith("-lm") && !objectiveNamed(name).embeds);
  const usual = shape.length === 2 ? names : ["mse", ...names.filter((name) => name !== "mse")];
  return inputs.length > 1 && losses.length > 0 ? losses : usual;
}

/** The batch size that a model's file fixes. */
export function fixedBatch({ inspection }: OpenedModel): number | undefined {
  const batch = inspection.inputs[0]?.shape[0];
  return typeof batch === "number" ? batch : undefined;
}

/** The library's options for one run. */
export function runOptions(run: RunName, opened: OpenedModel, settings: Settings): TrainerOptions {
  const { loss, learningRate, seed, backend, weight } = settings;
  const { rescued, block, trainable, frozen } = opened;
  const normalize = normalizationOf(settings.normalize, opened);
  const former = rescued?.[run].optimizer;
  const constants = former?.name === settings.optimizer ? former.options : {};
  const clips = clippings.flatMap(({ flag, make }) => {
    const value = settings.clip?.[flag];
    return value === undefined ? [] : [make(value)];
  });
  const chosen = optimizerNamed(settings.optimizer, constants);
  const optimizer = clips.length > 0 ? chain(...clips, chosen) : chosen;
  const objective = objectiveNames.includes(loss) ? objectiveNamed(loss) : undefined;
  const penalized = run === "som";
  return {
    ...{ learningRate, seed, backend, optimizer },
    ...(fixedBatch(opened) === undefined && { batch: settings.batch }),
    ...(normalize !== undefined && { normalize }),
    // The statistics of frozen layers stay those of the weights.
    ...(frozen && hasBatchNorm(opened.original) && { batchNorm: "frozen" as const }),
    ...(trainable && { trainable }),
    ...(objective ? { objective } : { loss: loss.slice(own.length) }),
    ...(penalized && (block ? { penaltyWeight: weight } : { penalties: [penaltyPlan(opened, settings)] })),
  };
}

/** Whether a model has BatchNormalization, also in functions; for another one, an option about it is refused. */
function hasBatchNorm({ proto: { graph, functions } }: Model): boolean {
  const lists = [graph?.node, ...(functions ?? []).map(({ node }) => node)];
  return lists.some((nodes) => nodes?.some(({ opType }) => opType === "BatchNormalization"));
}

/** The scaling of pixels; undefined if the library is to decide. */
function normalizationOf(
  choice: NormalizationChoice,
  { original }: Pick<OpenedModel, "original">,
): Normalization | undefined {
  if (choice === "auto") return original && conversionOf(original)?.normalize;
  if (choice === "imagenet") return imagenet;
  return choice === "-1..1" ? { mean: [0.5], std: [0.5] } : choice;
}

/** SOM with the options from the settings. The only layer of a model gets it in any case. */
export function penaltyPlan(
  { inspection: { sites } }: Pick<OpenedModel, "inspection">,
  settings: Pick<Settings, "som" | "weight" | "onOutputs">,
): PenaltyPlan {
  const { weight, onOutputs } = settings;
  const outputs = onOutputs ? [] : sites.filter(({ isOutput }) => isOutput);
  const names = outputs.map(({ name }) => name.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  const leavesNone = outputs.length === sites.length;
  return {
    ...{ penalty: som(settings.som), weight },
    ...(names.length > 0 && !leavesNone && { exclude: new RegExp(`^(?:${names.join("|")})$`) }),
  };
}
