import { UsageError } from "../errors.ts";
import { checkKnown } from "../known-options.ts";
import type { NumberRange } from "../numbers.ts";
import { isObject, whatIs } from "../what-is.ts";

/**
 * The factor of a learning rate or of a penalty's weight at a step. It must depend on its arguments only, so that a resumed run
 * goes on as one that was not stopped.
 * @param step - counts from 1
 * @param totalSteps - steps of the whole run
 * @param run - what else a schedule may look at; a trainer gives it
 */
export type Schedule = ((step: number, totalSteps: number, run?: ScheduledRun) => number) & {
  /**
   * The momentum at a step, of a schedule that moves it too: SGD's, or Adam's β1, in place of the optimizer's own number. For the
   * schedule of the learning rate only.
   */
  readonly momentum?: (step: number, totalSteps: number, run?: ScheduledRun) => number;
};

/** Facts about a run that some schedules need. */
export interface ScheduledRun {
  /** Steps of one pass over the data. */
  readonly stepsPerEpoch: number;
  /** The figures on held-out samples after each epoch so far; undefined in a run without held-out samples. */
  readonly validation?: readonly ValidatedEpoch[];
  /** The figures that a validation of the run computes, by name, and whether more of it is better. */
  readonly figures?: ReadonlyMap<string, "higher" | "lower">;
}

/** Figures on held-out samples after an epoch. */
export interface ValidatedEpoch {
  /** The last step of the epoch. */
  readonly step: number;
  readonly loss: number;
  readonly accuracy?: number;
  /** Further figures by name. */
  readonly metrics?: Readonly<Record<string, number>>;
}

/** The figure with a name; NaN where it was not computed. */
export function figureOf(
  { loss, accuracy, metrics = {} }: Omit<ValidatedEpoch, "step">,
  name: string,
): number {
  if (name === "loss") return loss;
  if (name === "accuracy") return accuracy ?? Number.NaN;
  return metrics[name] ?? Number.NaN;
}

/** The figure that a name asks for: `val_accuracy` is `accuracy`, since every monitored figure is that of held-out samples. */
export const figureAsked = (name: string): string => name.replace(/^(val|validation)[_.-]/, "");

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

/** @throws UsageError for what holds no options, and for an option that the schedule does not have */
export const checkNames = (given: object, { name, options }: Pick<ScheduleEntry, "name" | "options">): void =>
  checkKnown(
    `the schedule ${name}`,
    given,
    Object.fromEntries(Object.keys(options).map((option) => [option, true as const])),
  );

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
  if (words.includes(String(value))) return;
  throw refused(option, schedule, `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`, value);
}

/** The error for an invalid value of a schedule's option. */
export const refused = (
  option: string,
  schedule: string,
  expected: string,
  value: ScheduleOption,
): UsageError =>
  new UsageError(
    `option ${option} of the schedule ${schedule} must be ${expected}, not ${value === "" ? "nothing" : isObject(value) ? whatIs(value) : String(value)}`,
  );
