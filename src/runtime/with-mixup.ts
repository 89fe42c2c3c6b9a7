import type { Mixup } from "../data/mixup.ts";
import type { TrainerOptions } from "./trainer-options.ts";

/** The options of a run with a loss that takes mixed labels, and what mixes its batches; unchanged without mixup. */
export async function withMixup(
  options: TrainerOptions,
): Promise<{ readonly options: TrainerOptions; readonly mixup: Mixup | undefined }> {
  if (options.mixup === undefined) return { options, mixup: undefined };
  const { mixup, objectiveOfMixtures } = await import("../data/mixup.ts");
  return {
    options: { ...options, objective: objectiveOfMixtures(options.objective) },
    mixup: mixup(options.mixup),
  };
}
