import { type Command, InvalidArgumentError, Option } from "commander";
import { UsageError } from "../errors.ts";
import { crossEntropy } from "../losses/cross-entropy.ts";
import type { Objective } from "../losses/objective.ts";
import { objectiveNamed, objectiveNames } from "../losses/table.ts";
import type { LossOptions } from "../programs/options.ts";
import { addDimensionFlags, type DimensionFlags, dimensionsOf } from "./dimension-flags.ts";
import { given, number } from "./options.ts";
import { addParameterFlags, type ParameterFlags, parametersOf } from "./parameter-flags.ts";

/** Flags of the commands that differentiate a loss. */
export interface LossFlags extends DimensionFlags, ParameterFlags {
  readonly objective?: string;
  readonly loss?: string;
  readonly prediction?: string;
  readonly ignoreIndex?: number;
  readonly labels?: "classes" | "probabilities";
  readonly classAxis?: 1 | -1;
  readonly recompute?: boolean;
}

/** Declares the flags that say what the loss is and what counts as a parameter. */
export function addLossFlags(command: Command, batchMeaning: string): void {
  command
    .option("--objective <name>", `what compares the prediction with labels: ${objectiveNames.join(", ")}`)
    .option("--loss <name>", "the model's own output that is its loss, in place of an objective")
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
        "of a cross-entropy: class indices, or a share for each class (default: as the data have them, else classes)",
      ).choices(["classes", "probabilities"]),
    )
    .option(
      "--class-axis <axis>",
      "of a cross-entropy: the axis of the prediction that counts classes, 1 or last (default: 1, or the one that fits the labels)",
      classAxis,
    )
    .option(
      "--recompute",
      "keep fewer activations: cheap ones are computed again; numbers differ by rounding at most",
    );
  addParameterFlags(command);
  addDimensionFlags(command, batchMeaning);
}

/** The library's options of these flags. */
export function lossOptionsOf(flags: LossFlags): Omit<LossOptions, "penalties" | "onMessage"> {
  const { objective, loss, prediction, recompute } = flags;
  const ofLabels = flags.ignoreIndex ?? flags.labels ?? flags.classAxis;
  if (loss !== undefined && ofLabels !== undefined) {
    throw new UsageError(
      "--ignore-index, --labels and --class-axis belong to --objective cross-entropy: a model that holds its loss says how it reads labels",
    );
  }
  return {
    ...dimensionsOf(flags),
    ...parametersOf(flags),
    ...given({ loss, output: prediction, recompute }),
    ...(objective !== undefined && { objective: objectiveOf(objective, flags) }),
  };
}

/** @throws UsageError for a flag of the cross-entropy beside another objective */
function objectiveOf(name: string, { ignoreIndex, labels, classAxis }: LossFlags): Objective {
  const own = given({ ignoreIndex, labels, classAxis });
  const [flag] = Object.keys(own);
  if (flag === undefined) return objectiveNamed(name);
  if (name === "cross-entropy") return crossEntropy(own);
  const spelled = flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new UsageError(`--${spelled} belongs to the objective cross-entropy, not to ${name}`);
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
