import { UsageError } from "../errors.ts";
import type { Step } from "../programs/step.ts";
import type { StepPorts } from "../programs/step-ports.ts";
import type { Schedule, ScheduledRun } from "../schedules/schedule.ts";
import { whatIs } from "../what-is.ts";
import type { Position } from "./run-position.ts";
import type { StepResult } from "./step-session.ts";
import type { TimedOptions } from "./timed-options.ts";

/** The scalars that a step receives besides its batch. */
export interface StepScalars {
  /** Number of the step in this run, from 1: seeds the dropout masks. */
  readonly number: number;
  /**
   * Number of the update for the optimizer's bias correction, from 1; larger than `number` in a run that took over another
   * one's state.
   */
  readonly update: number;
  /** Epoch of the step, from 0: seeds the random numbers that are drawn once an epoch. */
  readonly epoch: number;
  readonly learningRate: number;
  /** The factor of the schedule in it, which multiplies the learning rates of groups too. */
  readonly rateFactor: number;
  /** The momentum that the schedule gives; absent where it moves none. */
  readonly momentum?: number;
  readonly penaltyWeight: number;
  /** Factors of single penalties, by the names of the ports' penalties; a penalty without an entry has 1. */
  readonly schedules: ReadonlyMap<string, number>;
}

/** What a run's schedules may look at. @param figures - those of a validation; undefined in a run that holds no samples out */
export const scheduledRun = (
  { history = [] }: Pick<Position, "history">,
  stepsPerEpoch: number,
  figures: ScheduledRun["figures"],
): ScheduledRun => ({
  stepsPerEpoch,
  ...(figures && {
    figures,
    validation: history.flatMap(({ step, validation }) => (validation ? [{ step, ...validation }] : [])),
  }),
});

/** Scalars of the next steps of a run, up to the step numbered `done`. */
export function scalarsOfSteps(
  {
    ports,
    penaltyWeight,
    penaltySchedules,
  }: Pick<Step, "penaltyWeight" | "penaltySchedules"> & { readonly ports: Pick<StepPorts, "penalties"> },
  options: TimedOptions,
  of: {
    readonly position: Pick<Position, "step" | "before">;
    readonly done: number;
    readonly epoch: number;
    readonly totalSteps: number;
    readonly run?: ScheduledRun | undefined;
  },
): StepScalars[] {
  const { position, done, epoch, totalSteps, run } = of;
  // A single penalty has no input for its schedule: the factor goes into the weight of all.
  const alone = ports.penalties.find(({ schedule }) => schedule === undefined)?.name ?? "";
  return Array.from({ length: done - position.step }, (_, i) => {
    const number = position.step + i + 1;
    const factor = (schedule: Schedule | undefined): number => {
      const found: unknown = schedule ? schedule(number, totalSteps, run) : 1;
      if (typeof found === "number" && !Number.isNaN(found)) return found;
      throw new UsageError(`a schedule gives ${whatIs(found)} for step ${number}: it must return a number`);
    };
    const rateFactor = factor(options.schedule);
    const momentum = options.schedule?.momentum?.(number, totalSteps, run);
    return {
      ...(momentum !== undefined && { momentum }),
      ...{ number, epoch, rateFactor, update: number + (position.before ?? 0) },
      learningRate: (options.learningRate ?? 1e-3) * rateFactor,
      penaltyWeight:
        (options.penaltyWeight ?? penaltyWeight) *
        factor(options.penaltySchedule) *
        factor(penaltySchedules.get(alone)),
      schedules: new Map([...penaltySchedules].map(([name, schedule]) => [name, factor(schedule)])),
    };
  });
}

/** What each penalty adds to the loss of a step, its weight and schedule included, by name. */
export function addedPenalties(
  { penalties }: Pick<StepPorts, "penalties">,
  scalars: Pick<StepScalars, "penaltyWeight" | "schedules"> | undefined,
  result: Pick<StepResult, "penalties">,
): Record<string, number> {
  return Object.fromEntries(
    penalties.map(({ name, factor, schedule }, i) => {
      const own = schedule === undefined ? 1 : (scalars?.schedules.get(name) ?? 1);
      return [name, (scalars?.penaltyWeight ?? 0) * factor * own * (result.penalties[i] ?? 0)];
    }),
  );
}

/** Each of several losses of a step, without its weight, by name; undefined for a single loss. */
export const namedLosses = (
  { losses }: Pick<StepPorts, "losses">,
  result: Pick<StepResult, "losses">,
): Record<string, number> | undefined =>
  losses && Object.fromEntries(losses.map(({ name }, i) => [name, result.losses?.[i] ?? 0]));
