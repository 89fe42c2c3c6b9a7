import type { Mixup } from "../data/mixup.ts";
import type { Model } from "../onnx/model.ts";
import { withLoss } from "../programs/prepare.ts";
import type { Taught } from "./taught.ts";
import type { TrainerOptions } from "./trainer-options.ts";

/** What a run makes of its options before it builds a graph. */
export interface RunOptions {
  /** With losses that take mixed labels, or read a teacher. */
  readonly options: TrainerOptions;
  /** Mixes the batches; undefined without mixup. */
  readonly mixup: Mixup | undefined;
  /** Undefined without a teacher. */
  readonly taught: Taught | undefined;
}

/** The options of a run of a model, and what follows from them; unchanged without mixup and teacher. */
export async function runOptions(model: Model, asked: TrainerOptions): Promise<RunOptions> {
  const given = await withLoss(model, asked);
  const { teacher, metrics } = given;
  if (metrics) (await import("../metrics/table.ts")).checkMetrics(metrics);
  const taught = teacher && (await import("./taught.ts")).taughtRun(model, { ...given, teacher });
  const options = taught?.options ?? given;
  if (options.mixup === undefined) return { options, mixup: undefined, taught };
  const { mixup, objectiveOfMixtures } = await import("../data/mixup.ts");
  return {
    options: { ...options, objective: objectiveOfMixtures(options.objective) },
    mixup: mixup(options.mixup),
    taught,
  };
}
