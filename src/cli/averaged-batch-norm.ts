import type { Dataset } from "../data/dataset.ts";
import { UsageError } from "../errors.ts";
import type { Trainer } from "../index.ts";
import { counted } from "../passes/pass.ts";
import { nodeRuntime } from "../runtime/node.ts";
import { batchNormStatistics } from "../runtime/update-batch-norm.ts";
import { given } from "./options.ts";

/** Whether a run computes the statistics of BatchNorm again for the mean of its weights. @throws UsageError for a flag without effect */
export function updatesBatchNorm({ step }: Trainer, { updateBn }: { readonly updateBn?: boolean }): boolean {
  const isAveraged = step.ports.average === "swa" && step.ports.statistics.length > 0;
  if (updateBn === false && !isAveraged) {
    throw new UsageError(
      "--no-update-bn belongs to --swa on a model whose BatchNorm is trained: here nothing is updated",
    );
  }
  return isAveraged && updateBn !== false;
}

/** Gives a run's BatchNorm the statistics that the mean of its weights has on the training data. @returns what was done */
export async function updateAveragedBatchNorm(
  trainer: Trainer,
  train: Dataset,
  signal: AbortSignal | undefined,
): Promise<string> {
  const { statistics } = await trainer.readState();
  const { batch, normalize, runningVariance, seed, threads, backend } = trainer.options;
  const found = await batchNormStatistics(
    trainer.export({ merge: false }),
    train,
    {
      ...given({ batch, normalize, runningVariance, seed, threads, signal }),
      ...(backend !== undefined && { backend }),
      statistics: new Set(statistics.keys()),
    },
    nodeRuntime,
  );
  trainer.takeOver({ statistics: new Map([...statistics, ...found]) });
  return `BatchNorm: ${counted(found.size / 2, "layer")} with the statistics of the averaged weights on the training data (--no-update-bn keeps those of the run)`;
}
