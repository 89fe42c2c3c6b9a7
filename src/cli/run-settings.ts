import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import type { DataConversion } from "../data/conversion.ts";
import { FileError, messageOf } from "../errors.ts";
import { isLossFile } from "../losses/text.ts";
import { nameAndOptions } from "../name-and-options.ts";
import { textIn } from "../onnx/read-file.ts";
import { reasonOf, writeFileSafely } from "../onnx/write-file.ts";
import { visibleLines } from "../visible.ts";
import { typedValues, withFlags } from "./config/flags.ts";
import { configName, configText } from "./config/write.ts";
import { withFiles } from "./metric-flags.ts";
import { quietCommand } from "./options.ts";

/** The file in a run's folder that records how the run was started. */
const settingsName = "run.json";

/** How a run was started: the arguments of `sorth-onnx train`, and the working folder. */
export interface RunSettings {
  readonly version: 1;
  /** The folder to which relative paths refer. */
  readonly folder: string;
  readonly arguments: readonly string[];
  /** Whether the model was a training_model.onnx of ONNX Runtime's training tools. */
  readonly artifact: boolean;
  /** The values of flags that were left out and that the program chose; they stand in `config.yaml`. */
  readonly defaults?: Readonly<Record<string, string | number>>;
  /** How its data were converted; runs of an older version have no record of that. */
  readonly data?: DataConversion;
}

/** Flags that concern one call only (its output, or what it may replace); a resumed run does not inherit them. */
const ofOneCall = ["force", "quiet", "debug", "json", "resume", "otherData"];
/** Flags that name files. */
const paths = [
  ...[
    "output",
    "checkpoint",
    "ortCheckpoint",
    "adapter",
    "adapterFrom",
    "data",
    "tensorboard",
    "tokenizer",
    "objective",
    "teacher",
  ],
  "metrics",
];

/**
 * Records in a run's folder how the run was started: `run.json` for a resumption, and `config.yaml`, which is made of the same
 * settings, to repeat the run.
 * @param declare - declares the arguments and flags of the command
 */
export async function writeRunSettings(
  folder: string,
  settings: RunSettings,
  declare: (command: Command) => void,
): Promise<void> {
  const text = `${visibleLines(JSON.stringify(settings, undefined, 2))}\n`;
  await writeFileSafely(join(folder, settingsName), text, { force: true });
  await writeFileSafely(join(folder, configName), configText(settings, declare), { force: true });
}

/** How the run of a folder was started; undefined for runs of an older version or of the library. @throws SorthError for a damaged file */
export async function readRunSettings(folder: string): Promise<RunSettings | undefined> {
  const path = join(folder, settingsName);
  const text = await textIn(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new FileError(`cannot read "${path}": ${reasonOf(error)}`);
  });
  if (text === undefined) return undefined;
  try {
    const settings = JSON.parse(text) as RunSettings;
    const { version, folder: from, arguments: typed } = settings;
    if (version !== 1) throw new FileError(`its version ${version} is newer than this program`);
    if (typeof from === "string" && Array.isArray(typed) && typed.every((one) => typeof one === "string")) {
      return settings;
    }
    throw new FileError("it is damaged");
  } catch (error) {
    throw new FileError(`"${path}" does not tell how the run was started: ${messageOf(error)}`);
  }
}

/** The flags and the model of a resumed run. */
interface ResumedCall<Flags> {
  readonly flags: Flags;
  /** The model of the first call. */
  readonly model: string | undefined;
}

/**
 * The flags of a resumed run: those with which it was started, overridden by those given now.
 * @param declare - declares the arguments and flags of the command
 * @throws SorthError when this version lacks a flag with which the run was started
 */
export function resumedCall<Flags extends object>(
  settings: RunSettings,
  command: Command,
  declare: (command: Command) => void,
): ResumedCall<Flags> {
  const { command: before } = quietCommand(declare);
  try {
    before.parse(argumentsHere(settings, declare), { from: "user" });
  } catch (error) {
    throw new FileError(
      `the run was started with options that this version does not have: ${messageOf(error)}`,
    );
  }
  const flags: Record<string, unknown> = {};
  for (const option of command.options) {
    const name = option.attributeName();
    const now = command.getOptionValue(name);
    const kept = ofOneCall.includes(name) ? undefined : before.getOptionValue(name);
    const givenNow = ["cli", "env"].includes(command.getOptionValueSource(name) ?? "");
    flags[name] = givenNow ? now : (kept ?? now);
  }
  return { flags: flags as Flags, model: before.args[0] };
}

/** The words with which a run was started, as they read in the present working folder. */
export function argumentsHere(
  { arguments: words, folder }: RunSettings,
  declare: (command: Command) => void,
): readonly string[] {
  if (folder === process.cwd()) return words;
  const here = (path: string) => resolve(folder, path);
  // Data may also be a name (mnist), or have a column after a colon.
  const isHere = (spec: string) => existsSync(here(spec).replace(/:[^:/\\]*$/, ""));
  const dataHere = (spec: string): string => {
    const files = spec.split(",").map((file) => file.trim());
    return isHere(spec) ? here(spec) : files.every(isHere) ? files.map(here).join() : spec;
  };
  // A loss may be a file, with options after a colon.
  const lossHere = (text: string) => {
    const { name } = nameAndOptions(text);
    return isLossFile(name) ? here(name) + text.slice(name.length) : text;
  };
  const moved = [...typedValues(declare, words).values].flatMap(([option, texts]) => {
    const name = option.attributeName();
    if (texts === true || !paths.includes(name)) return [];
    const ofKind: Readonly<Record<string, (text: string) => string>> = {
      data: dataHere,
      objective: lossHere,
      teacher: dataHere,
      metrics: (list) => withFiles(list, here),
    };
    return [[name, texts.map(ofKind[name] ?? here)] as const];
  });
  const { operands } = typedValues(declare, words);
  const flags = withFlags(declare, words, Object.fromEntries(moved)).slice(operands.length);
  return [...operands.map(here), ...flags];
}
