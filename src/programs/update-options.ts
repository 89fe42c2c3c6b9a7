import { adamw } from "../optimizers/adamw.ts";
import { averagesOf, withAverage } from "../optimizers/averages.ts";
import { transformationOf } from "../optimizers/optimizer.ts";
import type { GradientTransformation } from "../optimizers/transformation.ts";
import type { UpdateOptions } from "./options.ts";
import type { StepPorts } from "./step-ports.ts";
import { setsApart, type TrainingGradients, type TrainingOptions } from "./training-gradients.ts";
import type { GroupRate, TrainedParameter, UpdateScalars } from "./update.ts";

/** The optimizer that the options ask for, with the average of weights. */
export const chosenOptimizer = ({
  optimizer = adamw(),
  ...averages
}: UpdateOptions): GradientTransformation => withAverage(transformationOf(optimizer), averages);

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
