import { UsageError } from "../errors.ts";

/**
 * What a learning rate or a penalty weight is multiplied by at a step.
 * @param step - counts from 1
 * @param totalSteps - of the whole run
 */
export type Schedule = (step: number, totalSteps: number) => number;

/** A schedule by name, as the table, the command line's help and the documents have it. */
export interface ScheduleEntry {
  /** As `--schedule` spells it. */
  readonly name: string;
  /** One line: how the factor goes. */
  readonly summary: string;
  /** Its options, each with its default; undefined for one that has to be given. */
  readonly options: Readonly<Record<string, number | undefined>>;
  /** @throws UsageError for a value out of range */
  readonly make: (options: Readonly<Record<string, number>>) => Schedule;
}

/** @throws UsageError unless an option is a whole number of at least that */
export function wholeFrom(least: number, option: string, schedule: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw refused(option, schedule, `a whole number of ${least} or more`, value);
}

/** The error for a value that an option of a schedule cannot take. */
export const refused = (
  option: string,
  schedule: string,
  expected: string,
  value: number | string,
): UsageError =>
  new UsageError(`option ${option} of the schedule ${schedule} must be ${expected}, not ${value}`);
