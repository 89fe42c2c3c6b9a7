import type { Probe } from "../analysis/probe.ts";
import { UsageError } from "../errors.ts";
import { checkNumber, count } from "../numbers.ts";
import type { Model } from "../onnx/model.ts";
import { type SplitStep, splitStep } from "../programs/split-step.ts";
import type { StepOptions } from "../programs/step.ts";
import { checkRows } from "./check-rows.ts";
import { cutStages, type Stage } from "./cut-stages.ts";

/** A training step over a batch in shards, in several graphs. */
interface ExactStep extends Omit<SplitStep, "gradients"> {
  /** The gradients: each shard runs every stage in order, and behind each its `reduce` is reduced over all shards. */
  readonly stages: readonly Stage[];
}

/**
 * Writes a training step for one shard of a batch such that it is exact over the joint batch: response penalties, batch
 * statistics of BatchNormalization, and means over places that count (masks, ignored labels, class weights) are those of all
 * shards together. What is exchanged is small: for a penalty the products of a layer's units with each other, for a
 * BatchNormalization four numbers a channel, twice.
 *
 * @param options - `batch` counts the samples of one shard
 * @param context - `shards`: in how many equal shards the joint batch is cut
 * @throws UsageError if there is nothing of this kind in the step, and for what would not be exact: a loss or a model that compares
 *   samples of a batch with each other, a penalty of one's own on responses
 *
 * @example
 * const { stages, update } = await exactStages(model, { objective: crossEntropy(), penalties: [som()], batch: 16 }, { shards: 4, probe });
 */
export async function exactStages(
  model: Model,
  options: StepOptions,
  { shards, probe }: { readonly shards: number; readonly probe: Probe },
): Promise<ExactStep> {
  checkNumber("shards", shards, count);
  await checkRows(model, options, { shards, probe });
  const { gradients: _, graph, ...step } = await splitStep(model, { ...options, shards }, probe);
  const stages = cutStages(graph, model);
  if (stages.every(({ reduce }) => reduce.every((one) => one.as === undefined)))
    throw new UsageError(withoutEffect);
  return { ...step, stages };
}

const withoutEffect =
  "exact (--exact) would change nothing: the step has no penalty on responses, no BatchNormalization that normalizes with the batch, and no loss with masks, ignored labels or class weights; leave it out";
