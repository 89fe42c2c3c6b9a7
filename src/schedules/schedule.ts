import { UsageError } from "../errors.ts";
import type { NumberRange } from "../numbers.ts";

/**
 * The factor of a learning rate or of a penalty's weight at a step. It must depend on its arguments only, so that a resumed run
 * goes on as one that was not stopped.
 * @param step - counts from 1
 * @param totalSteps - steps of the whole run
 * @param run - what else a schedule may look at; a trainer gives it
 */
export type Schedule = (step: number, totalSteps: number, run?: ScheduledRun) => number;

/** Facts about a run that some schedules need. */
export interface ScheduledRun {
  /** Steps of one pass over the data. */
  readonly stepsPerEpoch: number;
  /** The loss on held-out samples after each epoch so far; undefined in a run without held-out samples. */
  readonly validation?: readonly { readonly step: number; readonly loss: number }[];
}

/** A number, or a text: of a choice, of a {@link Duration}, or of several. */
export type ScheduleOption = number | string;

/** A schedule with a name, for the table, the command line's help and the documentation. */
export interface ScheduleEntry {
  /** As `--schedule` spells it. */
  readonly name: string;
  /** One line that describes the factor. */
  readonly summary: string;
  /** Its options with their defaults; undefined for an option that must be given. */
  readonly options: Readonly<Record<string, ScheduleOption | undefined>>;
  /** @throws UsageError for a value out of range */
  readonly make: (options: never) => Schedule;
}

/** @throws UsageError unless the range holds the value of an option */
export function checkOption(
  schedule: string,
  option: string,
  value: ScheduleOption,
  { holds, words }: NumberRange,
): void {
  if (typeof value !== "number" || !holds(value)) throw refused(option, schedule, words, value);
}

/** @throws UsageError unless the value of an option is one of these words */
export function checkChoice(
  schedule: string,
  option: string,
  value: ScheduleOption,
  words: readonly string[],
): void {
  if (!words.includes(String(value))) throw refused(option, schedule, words.join(" or "), value);
}

/** The error for an invalid value of a schedule's option. */
export const refused = (
  option: string,
  schedule: string,
  expected: string,
  value: ScheduleOption,
): UsageError =>
  new UsageError(
    `option ${option} of the schedule ${schedule} must be ${expected}, not ${value === "" ? "nothing" : value}`,
  );
