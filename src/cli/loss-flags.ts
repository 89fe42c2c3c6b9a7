import { type Command, InvalidArgumentError, Option } from "commander";
import { UsageError } from "../errors.ts";
import type { Objective, ObjectiveOptions } from "../losses/objective.ts";
import { objectiveNamed, objectiveNames } from "../losses/table.ts";
import type { LossOptions } from "../programs/options.ts";
import { addDimensionFlags, type DimensionFlags, dimensionsOf } from "./dimension-flags.ts";
import { given, number } from "./options.ts";
import { addParameterFlags, type ParameterFlags, parametersOf } from "./parameter-flags.ts";

/** Flags that say which loss is put over a model, and how it reads labels. */
export interface ObjectiveFlags {
  readonly objective?: string;
  /** The model's own loss, beside which there is no objective. */
  readonly loss?: string;
  readonly prediction?: string;
  readonly ignoreIndex?: number;
  readonly labels?: "classes" | "probabilities";
  readonly classAxis?: 1 | -1;
}

/** Flags of the commands that differentiate a loss. */
export interface LossFlags extends DimensionFlags, ParameterFlags, ObjectiveFlags {
  readonly recompute?: boolean;
}

/** Declares the flags that say which loss is put over a model. @param meaning - of `--objective` in this command */
export function addObjectiveFlags(command: Command, meaning: string): void {
  command
    .option("--objective <name>", `${meaning}: ${objectiveNames.join(", ")}`)
    .option(
      "--prediction <name>",
      "the value that the objective reads, an output or an inner value (default: the first output of floats)",
    )
    .option(
      "--ignore-index <label>",
      "of a cross-entropy: the label that is no class and does not count (-100, 255)",
      integer,
    )
    .addOption(
      new Option(
        "--labels <kind>",
        "of a cross-entropy: class indices, or a share for each class (default: classes; train takes what the data hold)",
      ).choices(["classes", "probabilities"]),
    )
    .option(
      "--class-axis <axis>",
      "of a cross-entropy: the axis of the prediction that counts classes, 1 or last (default: 1; train takes the one that fits the labels)",
      classAxis,
    );
}

/** Declares the flags that say what the loss is and what counts as a parameter. */
export function addLossFlags(command: Command, batchMeaning: string): void {
  addObjectiveFlags(command, "what compares the prediction with labels");
  command
    .option("--loss <name>", "the model's own output that is its loss, in place of an objective")
    .option(
      "--recompute",
      "keep fewer activations: cheap ones are computed again; numbers differ by rounding at most",
    );
  addParameterFlags(command);
  addDimensionFlags(command, batchMeaning);
}

/** The library's options of these flags. */
export function lossOptionsOf(flags: LossFlags): Omit<LossOptions, "penalties" | "onMessage"> {
  const { loss, recompute } = flags;
  return {
    ...dimensionsOf(flags),
    ...parametersOf(flags),
    ...objectiveOf(flags),
    ...given({ loss, recompute }),
  };
}

/**
 * The objective with its options, and the value that it reads.
 * @throws UsageError for a flag of an objective that was not chosen
 */
export function objectiveOf(flags: ObjectiveFlags): {
  readonly objective?: Objective;
  readonly output?: string;
} {
  const { objective, prediction, ignoreIndex, labels, classAxis } = flags;
  const options: ObjectiveOptions = given({ ignoreIndex, labels, classAxis });
  const [option] = Object.keys(options);
  if (option !== undefined) checkTaken(option, flags);
  return {
    ...given({ output: prediction }),
    ...(objective !== undefined && { objective: objectiveNamed(objective, options) }),
  };
}

/** @throws UsageError for an option of another objective than the one chosen, or of one where none was */
function checkTaken(option: string, { objective, loss }: ObjectiveFlags): void {
  const takers = objectiveNames.filter((name) => Object.hasOwn(objectiveNamed(name).options, option));
  if (objective !== undefined && (takers.includes(objective) || !objectiveNames.includes(objective))) return;
  const flag = `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const own = loss === undefined ? "" : ": a model that holds its loss says how it reads labels";
  const other = objective === undefined ? own : `, not to ${objective}`;
  throw new UsageError(`${flag} belongs to --objective ${takers.join(" and ")}${other}`);
}

function integer(text: string): number {
  const value = number(text);
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError("Give a whole number.");
  return value;
}

function classAxis(text: string): 1 | -1 {
  if (text === "1") return 1;
  if (text === "last" || text === "-1") return -1;
  throw new InvalidArgumentError("Give 1 or last.");
}
