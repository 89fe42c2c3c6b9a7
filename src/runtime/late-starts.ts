import { UsageError } from "../errors.ts";
import type { StepPorts } from "../programs/step-ports.ts";
import type { Schedule, ScheduledRun } from "../schedules/schedule.ts";
import type { ChosenFit } from "./fit-plan.ts";
import type { TimedOptions } from "./timed-options.ts";

/** @throws UsageError for options of penalties in a run that has none */
export function checkActs(
  { penaltyShare, penaltySchedule }: Pick<TimedOptions, "penaltyShare" | "penaltySchedule">,
  { penalty }: Pick<StepPorts, "penalty">,
): void {
  if (penalty !== undefined) return;
  const asked =
    penaltyShare !== undefined
      ? "penaltyShare (--share)"
      : penaltySchedule && "penaltySchedule (--penalty-schedule)";
  if (asked) throw new UsageError(`${asked} has no effect: the run has no penalty`);
}

/** A message about a number of steps that the epochs of a run do not reach. */
export const earlyEnd = (
  { epochs, maxSteps = 0 }: Pick<ChosenFit, "epochs" | "maxSteps">,
  planned: number,
) =>
  maxSteps > planned
    ? [
        `the run ends with epoch ${epochs} at step ${planned}, before step ${maxSteps} (--max-steps): give more epochs (--epochs)`,
      ]
    : [];

/** Messages about options that begin to act after the last step of a run, or do not act in it at all. */
export function lateStarts(
  {
    groups = [],
    swa,
    optimizer,
    schedule,
    penaltySchedule,
  }: Pick<TimedOptions, "groups" | "swa" | "optimizer" | "schedule" | "penaltySchedule">,
  totalSteps: number,
  run: ScheduledRun,
): string[] {
  const start = typeof swa === "object" ? swa.start : swa;
  const mean =
    start !== undefined && start > totalSteps
      ? [
          `the mean of the weights begins at step ${start}, after the last step ${totalSteps}: it is the last weights`,
        ]
      : [];
  const frozen = groups.flatMap(({ match, freezeUntil = 0 }) =>
    freezeUntil >= totalSteps
      ? [`group ${match.source}: frozen until step ${freezeUntil}, and so in all ${totalSteps} steps`]
      : [],
  );
  const batches = optimizer?.name === "accumulate" ? Number(optimizer.options.batches) : 1;
  const none =
    batches > totalSteps
      ? [`the weights are updated once in ${batches} steps, and so in none of the ${totalSteps}`]
      : [];
  const idle = Object.entries({ "learning rate": schedule, "penalty's weight": penaltySchedule }).flatMap(
    ([name, one]) =>
      one && isIdle(one, totalSteps, run)
        ? [`the schedule leaves the ${name} as it is in all ${totalSteps} steps`]
        : [],
  );
  return [...mean, ...frozen, ...none, ...idle];
}

/** At how many steps a schedule is looked at. */
const looks = 1000;

/** Whether the factor of a schedule is 1 throughout a run; false where it depends on figures that are not known yet. */
function isIdle(schedule: Schedule, totalSteps: number, run: ScheduledRun): boolean {
  if (schedule.momentum) return false;
  let waits = false;
  const looking: ScheduledRun = {
    ...run,
    get validation() {
      waits = true;
      return run.validation ?? [];
    },
  };
  const count = Math.min(totalSteps, looks);
  const steps = Array.from({ length: count }, (_, i) => Math.ceil(((i + 1) * totalSteps) / count));
  return steps.every((step) => schedule(step, totalSteps, looking) === 1) && !waits;
}
