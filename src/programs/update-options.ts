import { UsageError } from "../errors.ts";
import { adamw } from "../optimizers/adamw.ts";
import { averagesOf } from "../optimizers/averages.ts";
import { transformationOf } from "../optimizers/optimizer.ts";
import type { GradientTransformation } from "../optimizers/transformation.ts";
import type { UpdateOptions } from "./options.ts";
import type { StepPorts } from "./step-ports.ts";
import { setsApart, type TrainingGradients, type TrainingOptions } from "./training-gradients.ts";
import type { GroupRate, TrainedParameter, UpdateScalars } from "./update.ts";

/** The optimizer that the options ask for, with penalties that are applied beside it and the average of weights. */
export async function chosenOptimizer({
  optimizer = adamw(),
  applyPenalties = "loss",
  ema,
  swa,
}: UpdateOptions): Promise<GradientTransformation> {
  let chosen = transformationOf(optimizer);
  // A page loads what follows for a run that asks for it.
  if (applyPenalties !== "loss") {
    chosen = (await import("./applied-penalties.ts")).besideOptimizer(chosen, applyPenalties);
  }
  if (ema === undefined && swa === undefined) return chosen;
  const { withAverage } = await import("../optimizers/with-average.ts");
  return withAverage(chosen, { ...(ema !== undefined && { ema }), ...(swa !== undefined && { swa }) });
}

/** @throws UsageError where penalties are to be applied otherwise than in the loss, which `what` cannot do */
export function refuseApplied({ applyPenalties = "loss" }: UpdateOptions, what: string): void {
  if (applyPenalties === "loss") return;
  throw new UsageError(
    `${what} has its penalties in the loss: leave applyPenalties (--apply ${applyPenalties}) out, or train with one graph (train, step)`,
  );
}

/** The trained parameters with what their groups change, and the learning rates of groups. */
export async function inGroups(
  half: TrainingGradients,
  options: TrainingOptions & UpdateOptions,
  optimizer: GradientTransformation,
): Promise<{ readonly trained: readonly TrainedParameter[]; readonly groups: readonly GroupRate[] }> {
  if (!setsApart(options)) return { trained: half.trained, groups: [] };
  // A page loads this for a run that has groups.
  const { grouped } = await import("./parameter-groups.ts");
  return grouped(half, options, optimizer);
}

/** The ports of the scalars that an optimizer reads. */
export const scalarPorts = (
  { learningRate, step, rates = [], momentum }: UpdateScalars,
  groups: readonly GroupRate[],
): Pick<StepPorts["scalars"], "learningRate" | "step" | "rates" | "momentum"> => ({
  ...{ learningRate: learningRate.name, step: step.name },
  ...(momentum && { momentum: momentum.name }),
  ...(rates.length > 0 && {
    rates: rates.map(({ name }, i) => ({ input: name, rate: groups[i]?.rate ?? Number.NaN })),
  }),
});

/** The port of the average that an optimizer keeps. */
export function averagePort(optimizer: GradientTransformation): Pick<StepPorts, "average"> {
  const [average] = averagesOf(optimizer);
  return average === undefined ? {} : { average };
}
