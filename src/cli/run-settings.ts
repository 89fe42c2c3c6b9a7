import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { isAbsolute, join, resolve } from "node:path";
import { Command } from "commander";
import { FileError, messageOf } from "../errors.ts";
import { writeFileSafely } from "../onnx/write-file.ts";

/** The file of a run's folder that says how the run was begun. */
const settingsName = "run.json";

/** How a run was begun: what was typed after `sorth-onnx train`, and where. */
export interface RunSettings {
  readonly version: 1;
  /** The folder that relative paths start from. */
  readonly folder: string;
  readonly arguments: readonly string[];
  /** The model was a training_model.onnx of ONNX Runtime's training tools. */
  readonly artifact: boolean;
}

/** Flags that say how one call speaks, or what it may replace: a resumed run does not take them over. */
const ofOneCall = ["force", "quiet", "debug", "json", "resume", "otherData"];
/** Flags that name files. */
const paths = ["output", "checkpoint", "ortCheckpoint", "data"];

/** Keeps in a run's folder how it was begun. */
export async function writeRunSettings(folder: string, settings: RunSettings): Promise<void> {
  const text = `${JSON.stringify(settings, undefined, 2)}\n`;
  await writeFileSafely(join(folder, settingsName), text, { force: true });
}

/** How the run of a folder was begun; undefined for one of an older version or of the library. @throws SorthError where that is damaged */
export async function readRunSettings(folder: string): Promise<RunSettings | undefined> {
  const path = join(folder, settingsName);
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const settings = JSON.parse(text) as RunSettings;
    const { version, folder: from, arguments: typed } = settings;
    if (version !== 1) throw new FileError(`it is of version ${version}, which is newer`);
    if (typeof from === "string" && Array.isArray(typed) && typed.every((one) => typeof one === "string")) {
      return settings;
    }
    throw new FileError("it is damaged");
  } catch (error) {
    throw new FileError(`"${path}" does not say how the run was begun: ${messageOf(error)}`);
  }
}

/** A call of `train` as a resumed run sees it. */
export interface ResumedCall<Flags> {
  readonly flags: Flags;
  /** The model of the first call. */
  readonly model: string | undefined;
}

/**
 * The flags of a resumed run: those that it was begun with, and over them those that are given now.
 * @param declare - declares the arguments and flags of the command
 * @throws SorthError when this version does not have a flag that the run was begun with
 */
export function resumedCall<Flags extends object>(
  settings: RunSettings,
  command: Command,
  declare: (command: Command) => void,
): ResumedCall<Flags> {
  const before = new Command("train").exitOverride().configureOutput({ writeErr: () => {} });
  declare(before);
  before.option("--force").option("--quiet").option("--debug");
  try {
    before.parse([...settings.arguments], { from: "user" });
  } catch (error) {
    throw new FileError(
      `the run was begun with options that this version does not take: ${messageOf(error)}`,
    );
  }
  const moved = settings.folder !== process.cwd();
  const here = (path: string) => (moved && !isAbsolute(path) ? resolve(settings.folder, path) : path);
  // Data may also have a name (mnist), or a column behind a colon.
  const dataHere = (spec: string) => (existsSync(here(spec).replace(/:[^:/\\]*$/, "")) ? here(spec) : spec);
  const flags: Record<string, unknown> = {};
  for (const option of command.options) {
    const name = option.attributeName();
    const now = command.getOptionValue(name);
    const kept = ofOneCall.includes(name) ? undefined : before.getOptionValue(name);
    const givenNow = ["cli", "env"].includes(command.getOptionValueSource(name) ?? "");
    flags[name] = givenNow
      ? now
      : typeof kept === "string" && paths.includes(name)
        ? (name === "data" ? dataHere : here)(kept)
        : (kept ?? now);
  }
  const model = before.args[0];
  return { flags: flags as Flags, model: model === undefined ? undefined : here(model) };
}
