import { blockOf } from "../block/block.ts";
import { UsageError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import type { Model } from "../onnx/model.ts";
import { optimizerNames } from "../optimizers/table.ts";
import { withWeights } from "../programs/export.ts";
import { type AveragedOption, noAverage } from "./averages.ts";
import type { CheckpointKind } from "./events.ts";
import { exportOptionsFromText } from "./stored-options.ts";
import { readRun, type StoredRun } from "./stored-run.ts";
import { trainedModel } from "./trained-model.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";

/** Options of {@link exportCheckpoint}. */
export interface ExportCheckpointOptions extends AveragedOption {
  /** The last checkpoint (default), or the one with the lowest validation loss. */
  readonly from?: CheckpointKind;
  /** Leaves an injected penalty in the model. */
  readonly keepPenalty?: boolean;
  /** Folds LoRA adapters into the weights (default); false keeps them beside the frozen ones. */
  readonly merge?: boolean;
}

const optionNames = {
  ...{ from: true, keepPenalty: "flag", merge: "flag", averaged: "flag" },
} as const satisfies OptionNames<ExportCheckpointOptions>;

/** Takes the trained model out of a checkpoint folder. `Library.exportCheckpoint` documents it. */
export async function exportCheckpoint(
  folder: string,
  options: ExportCheckpointOptions,
  runtime: Pick<TrainerRuntime, "files" | "probe">,
): Promise<Model> {
  checkKnown("exportCheckpoint", options, optionNames);
  const { from = "last", keepPenalty = false, averaged, merge = true } = options;
  const { files } = runtime;
  const run = await readRun(folder, from, { files });
  const stored = exportOptionsFromText(run.options);
  const { model, merged } = await trainedModel(await files.readModel(folder), stored.adapted, runtime);
  const weights = weightNames(run, stored.optimizer.name);
  const { averages = {} } = run;
  if (keepPenalty && !blockOf(graphOf(model))) {
    throw new UsageError(
      "keepPenalty (--keep-penalty) has no effect: no penalty was injected into the run's model; leave it out",
    );
  }
  if (averaged !== undefined && !run.averages) throw noAverage();
  const takes = averaged ?? run.averages !== undefined;
  const tensors = [...run.tensors]
    .filter(([name]) => weights.has(name))
    .map(
      ([name, own]) => [name, (takes && run.tensors.get(averages[name] ?? "")?.named(name)) || own] as const,
    );
  const trained = withWeights(model, new Map(tensors), { ...stored.patterns, keepPenalty });
  return merge ? merged(trained) : trained;
}

/** Names of the model's own tensors. Checkpoints of older versions do not list them: there, every tensor that is no optimizer state. */
function weightNames({ weights, tensors, where }: StoredRun, optimizer: string): ReadonlySet<string> {
  if (weights) return new Set(weights);
  if (!optimizerNames.includes(optimizer)) {
    throw new UsageError(
      `${where} is of an older version and does not say which of its tensors are state of the optimizer "${optimizer}": resume the run with Trainer.resume(folder, { optimizer }) and export it`,
    );
  }
  const isSlot = (name: string) => /\.[mv]$/.test(name) && tensors.has(name.slice(0, -2));
  return new Set([...tensors.keys()].filter((name) => !isSlot(name)));
}
