import { UsageError } from "../errors.ts";

/**
 * The factor of a learning rate or of a penalty's weight at a step.
 * @param step - counts from 1
 * @param totalSteps - steps of the whole run
 */
export type Schedule = (step: number, totalSteps: number) => number;

/** A schedule with a name, for the table, the command line's help and the documentation. */
export interface ScheduleEntry {
  /** As `--schedule` spells it. */
  readonly name: string;
  /** One line that describes the factor. */
  readonly summary: string;
  /** Its options with their defaults; undefined for an option that must be given. */
  readonly options: Readonly<Record<string, number | undefined>>;
  /** @throws UsageError for a value out of range */
  readonly make: (options: Readonly<Record<string, number>>) => Schedule;
}

/** @throws UsageError unless an option is a whole number of at least the given one */
export function wholeFrom(least: number, option: string, schedule: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw refused(option, schedule, `a whole number of ${least} or more`, value);
}

/** The error for an invalid value of a schedule's option. */
export const refused = (
  option: string,
  schedule: string,
  expected: string,
  value: number | string,
): UsageError =>
  new UsageError(`option ${option} of the schedule ${schedule} must be ${expected}, not ${value}`);
