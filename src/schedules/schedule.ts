import { UsageError } from "../errors.ts";
import type { NumberRange } from "../numbers.ts";

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

/** @throws UsageError unless the range holds the value of an option */
export function checkOption(schedule: string, option: string, value: number, range: NumberRange): void {
  if (!range.holds(value)) throw refused(option, schedule, range.words, value);
}

/** The error for an invalid value of a schedule's option. */
export const refused = (
  option: string,
  schedule: string,
  expected: string,
  value: number | string,
): UsageError =>
  new UsageError(`option ${option} of the schedule ${schedule} must be ${expected}, not ${value}`);
