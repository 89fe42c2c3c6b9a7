import { type Command, InvalidArgumentError, Option } from "commander";
import { UsageError } from "../errors.ts";
import type { Objective, ObjectiveOptions } from "../losses/objective.ts";
import { objectiveNamed, objectiveNames } from "../losses/table.ts";
import { type AnyObjective, combined, isObjective, type LossTerm } from "../losses/terms.ts";
import { isLossFile, parseTerm } from "../losses/text.ts";
import { hyphened, nameAndOptions } from "../name-and-options.ts";
import { decimal, share } from "../numbers.ts";
import { textAt } from "../onnx/read-file.ts";
import { reasonOf } from "../onnx/write-file.ts";
import type { LossOptions } from "../programs/options.ts";
import { addDimensionFlags, type DimensionFlags, dimensionsOf } from "./dimension-flags.ts";
import { given, number, numberIn, pattern, repeated } from "./options.ts";
import { addParameterFlags, type ParameterFlags, parametersOf } from "./parameter-flags.ts";

/** Flags that say which loss is put over a model, and how it reads labels. */
export interface ObjectiveFlags {
  /** One or several losses, whose weighted sum is taken. */
  readonly objective?: readonly string[];
  /** Losses that were read from files, by path: {@link readLosses}. */
  readonly losses?: ReadonlyMap<string, LossTerm["objective"]>;
  /** A model to learn from, and after a colon its output. */
  readonly teacher?: string;
  /** That model, once it was read ({@link withLossFiles}). */
  readonly taught?: Pick<LossOptions, "teacher" | "teacherOutput">;
  /** The model's own loss, beside which there is no objective. */
  readonly loss?: string;
  readonly prediction?: string;
  readonly ignoreIndex?: number;
  readonly labels?: "classes" | "probabilities";
  readonly classAxis?: 1 | -1;
  readonly labelSmoothing?: number;
  /** Numbers with commas between them; `balanced` is for commands that read data. */
  readonly classWeights?: string;
}

/** Flags of the commands that differentiate a loss. */
export interface LossFlags extends DimensionFlags, ParameterFlags, ObjectiveFlags {
  readonly recompute?: boolean;
  readonly checkpointEvery?: "block" | number;
  readonly straightThrough?: boolean;
  readonly detach?: RegExp;
}

/** Declares the flags that choose the loss of a model. @param meaning - meaning of `--objective` in this command */
export function addObjectiveFlags(command: Command, meaning: string): void {
  command
    .option(
      "--objective <name[:options]>",
      `${meaning}: ${objectiveNames.join(", ")}, or a loss of your own (loss.onnx, loss.mjs); options follow a colon: huber:delta=0.5. Repeat it for a sum over several outputs: cross-entropy:output=logits,labels=y_class,weight=1`,
      repeated((text) => text),
    )
    .option(
      "--prediction <name>",
      "the value that the objective compares with the labels, an output or an inner value (default: the first float output)",
    )
    .option(
      "--ignore-index <label>",
      "cross-entropy: skip positions with this label, such as 255, which is not a class (train: -100 by itself)",
      integer,
    )
    .addOption(
      new Option(
        "--labels <kind>",
        "cross-entropy: labels are class indices, or a probability for each class (default: classes; train: as in the data)",
      ).choices(["classes", "probabilities"]),
    )
    .option(
      "--class-axis <axis>",
      "cross-entropy: the class axis of the prediction, 1 or last (default: 1; train: the axis that fits the labels)",
      classAxis,
    )
    .option(
      "--label-smoothing <share>",
      "cross-entropy: share of the target that is spread over all classes",
      numberIn(share),
    )
    .option(
      "--class-weights <weights>",
      "cross-entropy: a weight for each class, 1,5,2.5 or a .json file with an array (train also: balanced, by how rare a class is in the data)",
      classWeights,
    );
}

/** Declares `--teacher`. */
export function addTeacherFlag(command: Command): void {
  command.option(
    "--teacher <model[:output]>",
    `learn from another ONNX model, which runs in the same step: --objective distillation:temperature=T,alpha=A is A times the divergence from it and 1 − A times the cross-entropy with the labels, kl, mse and other losses read it in place of labels (default objective: ${taughtObjective})`,
  );
}

/** The default of `--objective` beside a teacher. */
export const taughtObjective = "distillation:temperature=4,alpha=0.9";

/** Declares the flags that choose the loss and the parameters. */
export function addLossFlags(command: Command, batchMeaning: string): void {
  addObjectiveFlags(command, "the loss that compares the prediction with labels");
  command
    .option("--loss <name>", "use this output of the model as its loss, instead of an objective")
    .option(
      "--recompute",
      "save memory: recompute cheap activations for the gradient instead of keeping them; results differ by rounding at most",
    )
    .option(
      "--checkpoint-every <block|count>",
      "save more memory: keep outputs of blocks and compute what lies between them again in the backward pass; block: at the places that make the peak smallest; a number N: at every N-th block",
      checkpointEvery,
    )
    .option(
      "--straight-through",
      "pass gradients through what rounds (Round, Floor, Ceil, Sign, quantized activations) as if it did not, and 0 outside of a quantizer's range",
    )
    .option(
      "--detach <pattern>",
      "stop gradients at inner values (by name, or that of their node), as detach() and stop_gradient do, which no export keeps",
      pattern,
    );
  addParameterFlags(command);
  addDimensionFlags(command, batchMeaning);
}

/** The library's options for these flags. */
export function lossOptionsOf(flags: LossFlags): Omit<LossOptions, "penalties" | "onMessage"> {
  const { loss, recompute, checkpointEvery, straightThrough, detach } = flags;
  return {
    ...dimensionsOf(flags),
    ...parametersOf(flags),
    ...objectiveOf(flags),
    ...flags.taught,
    ...given({ loss, recompute, checkpointEvery, straightThrough, detach }),
  };
}

/**
 * The objective with its options, and the value that it reads.
 * @throws UsageError for a flag of an objective that was not chosen
 */
export function objectiveOf(flags: ObjectiveFlags): {
  readonly objective?: AnyObjective;
  readonly output?: string;
} {
  const {
    objective: texts = [],
    prediction,
    ignoreIndex,
    labels,
    classAxis,
    labelSmoothing,
    classWeights,
  } = flags;
  const options: ObjectiveOptions = given({ ignoreIndex, labels, classAxis, labelSmoothing, classWeights });
  const [option] = Object.keys(options);
  if (option !== undefined) checkTaken(option, flags);
  const terms = texts.map((text) => parseTerm(text, options, flags.losses));
  const [only, second] = terms;
  if (!only) return given({ output: prediction });
  const { output, ...others } = only;
  if (prediction !== undefined && (second || output !== undefined)) {
    throw new UsageError(
      `--prediction names the value that one objective reads: write it into each, as in --objective "${texts[0]?.split(":")[0]}:output=${prediction}"`,
    );
  }
  const plain = !second && Object.keys(others).length === 1;
  if (plain) return { objective: only.objective, ...given({ output: output ?? prediction }) };
  return {
    objective: combined(terms.map((term) => ({ ...term, ...given({ output: term.output ?? prediction }) }))),
  };
}

/**
 * The options of a command that takes one loss of the table.
 * @throws UsageError for several losses, and for one of the user's own
 */
export function oneObjective<O extends { readonly objective?: AnyObjective }>(
  command: string,
  { objective, ...options }: O,
): Omit<O, "objective"> & { readonly objective?: Objective } {
  if (objective === undefined) return options;
  if (isObjective(objective)) return { ...options, objective };
  throw new UsageError(
    `${command} takes one objective, with no options for labels, mask or weight: ${objectiveNames.join(", ")}`,
  );
}

/** @throws UsageError for an option that no chosen objective has, or several have, or that is given without an objective */
function checkTaken(option: string, { objective = [], loss }: ObjectiveFlags): void {
  const takers = objectiveNames.filter((name) => Object.hasOwn(objectiveNamed(name).options, option));
  const names = objective.map((text) => nameAndOptions(text).name);
  const flag = `--${hyphened(option)}`;
  const taking = names.filter((name) => takers.includes(name));
  if (taking.length > 1) {
    throw new UsageError(
      `${flag} could belong to several objectives: write it into one of them, after the colon`,
    );
  }
  if (taking.length === 1 || names.some((name) => !objectiveNames.includes(name) && !isLossFile(name)))
    return;
  const [name] = names;
  const own = loss === undefined ? "" : "; with --loss, the model itself reads the labels";
  const other = name === undefined ? own : `, not to ${name}`;
  throw new UsageError(`${flag} belongs to --objective ${inWords(takers)}${other}`);
}

/** `a, b and c`. */
const inWords = (names: readonly string[]): string =>
  names.length < 2 ? names.join() : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;

function integer(text: string): number {
  const value = number(text);
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError("Give a whole number.");
  return value;
}

function checkpointEvery(text: string): "block" | number {
  if (text === "block") return text;
  const value = decimal(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError("Give block, or a whole number of 1 or more.");
}

function classAxis(text: string): 1 | -1 {
  if (text === "1") return 1;
  if (text === "last" || text === "-1") return -1;
  throw new InvalidArgumentError("Give 1 or last.");
}

/** Class weights as text; those of a file are read. */
function classWeights(text: string): string {
  if (!text.endsWith(".json")) return text;
  let weights: unknown;
  try {
    weights = JSON.parse(textAt(text));
  } catch (error) {
    throw new InvalidArgumentError(`${text} cannot be read: ${reasonOf(error)}`);
  }
  if (!Array.isArray(weights) || weights.some((weight) => typeof weight !== "number")) {
    throw new InvalidArgumentError(`${text} must hold an array with a number for each class.`);
  }
  return weights.join();
}
