import type { Command } from "commander";
import { stringify } from "yaml";
import { visible, visibleLines } from "../../visible.ts";
import { keyOf, typedValues } from "./flags.ts";

/** The file in a run's folder that repeats the run. */
export const configName = "config.yaml";

/** What belongs to one call: where it writes, and what it may replace. */
const ofOneCall = ["output", "ortCheckpoint", "adapter", "tensorboard", "resume", "otherData"];
const ofScreen = ["force", "quiet", "debug", "json"];

/** A run whose configuration is written. */
interface ConfiguredRun {
  /** Words of the command line: the flags of a configuration and those that were typed. */
  readonly arguments: readonly string[];
  /** The working folder. */
  readonly folder: string;
  /** Whether `--checkpoint` names a file to begin with, and not a folder to write to. */
  readonly artifact: boolean;
  /** Flags that were left out, with the values that they had. */
  readonly defaults?: Readonly<Record<string, string | number>>;
}

/**
 * The configuration of a run as YAML: what was typed, and the defaults. The places where the run writes are left out, so that a
 * repetition replaces nothing.
 * @param declare - declares the arguments and flags of the command
 */
export function configText(run: ConfiguredRun, declare: (command: Command) => void): string {
  const { artifact, defaults = {}, folder } = run;
  const { values, operands, command } = typedValues(declare, run.arguments);
  const leftOut = new Set([...ofOneCall, ...ofScreen, ...(artifact ? [] : ["checkpoint"])]);
  const entries = command.options.flatMap((option): [string, unknown][] => {
    const name = option.attributeName();
    if (leftOut.has(name)) return [];
    const key = keyOf(option);
    const typed = values.get(option);
    if (typed !== undefined)
      return [[key, typed === true ? true : typed.length === 1 ? plain(typed[0] ?? "") : typed.map(plain)]];
    const standard = defaults[key] ?? (artifact || option.negate ? undefined : option.defaultValue);
    return standard === undefined ? [] : [[key, standard]];
  });
  const model = operands[0] === undefined ? {} : { model: operands[0] };
  const content = { ...model, ...Object.fromEntries(entries) };
  const text = stringify(content, { lineWidth: 0 });
  // Invisible characters can be escaped in quotes alone.
  const shown =
    visibleLines(text) === text
      ? text
      : visibleLines(
          stringify(content, { lineWidth: 0, defaultStringType: "QUOTE_DOUBLE", defaultKeyType: "PLAIN" }),
        );
  return [
    "# The options of this run. To repeat it: sorth-onnx train --config <this file> -o <another model>",
    `# Paths are relative to the folder where it was started: ${visible(JSON.stringify(folder))}`,
    shown,
  ].join("\n");
}

/** A number as such, where its text stays the same. */
const plain = (text: string): string | number => (`${Number(text)}` === text ? Number(text) : text);
