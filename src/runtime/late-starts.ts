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
  const scheduled = Object.entries({
    "learning rate": schedule,
    "penalty's weight": penaltySchedule,
  }).flatMap(([name, one]) => (one ? remarksOn(one, name, totalSteps, run) : []));
  return [...mean, ...frozen, ...none, ...scheduled];
}

/** At how many steps a schedule is looked at. */
const looks = 1000;

/**
 * Messages about a schedule whose factor is 1 throughout a run, or rises to its end without reaching 1, as in a warmup that is longer
 * than the run; none where it depends on figures that are not known yet.
 */
function remarksOn(schedule: Schedule, name: string, totalSteps: number, run: ScheduledRun): string[] {
  if (schedule.momentum) return [];
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
  const factors = steps.map((step) => schedule(step, totalSteps, looking));
  if (waits) return [];
  if (factors.every((factor) => factor === 1)) {
    return [`the schedule leaves the ${name} as it is in all ${totalSteps} steps`];
  }
  const [last = 1] = factors.slice(-1);
  const rises = count > 1 && factors.every((factor, i) => i === 0 || factor > (factors[i - 1] ?? 0));
  return rises && last < 1
    ? [
        `the schedule raises the ${name} in all ${totalSteps} steps, to a share of ${Number(last.toPrecision(3))} at the last one: its warmup is longer than the run`,
      ]
    : [];
}
