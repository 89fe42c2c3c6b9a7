import { UsageError } from "../errors.ts";
import type { AverageKind } from "../optimizers/averages.ts";
import type { StepPorts } from "../programs/step-ports.ts";

/** Whether to take the average of the weights that a run keeps, or the weights themselves; default: the average if there is one. */
export interface AveragedOption {
  readonly averaged?: boolean;
}

/** The error for a run without an average. */
export const noAverage = (): UsageError =>
  new UsageError("the run keeps no average of its weights: begin it with ema or swa (--ema, --swa)");

/** The slot to take for each parameter; undefined for the parameters themselves. @throws UsageError where no average is kept */
export function averageOf(
  { average }: Pick<StepPorts, "average">,
  { averaged = average !== undefined }: AveragedOption,
): AverageKind | undefined {
  if (averaged && average === undefined) throw noAverage();
  return averaged ? average : undefined;
}

/** Inputs of averages by the inputs of their parameters. */
export const averageInputs = (
  { parameters }: Pick<StepPorts, "parameters">,
  average: AverageKind | undefined,
): Map<string, string> =>
  new Map(
    parameters.flatMap(({ input, slots }) => {
      const own = average && slots.get(average);
      return own ? [[input, own.input] as const] : [];
    }),
  );
