import type { Command } from "commander";
import { FileError, UsageError } from "../errors.ts";
import { type Model, replaceHead } from "../index.ts";
import { textIn } from "../onnx/read-file.ts";
import { reasonOf } from "../onnx/write-file.ts";
import { type DimensionFlags, dimensionsOf } from "./dimension-flags.ts";
import { given } from "./options.ts";

/** The flags that give a model new classes. */
export interface ClassFlags extends DimensionFlags {
  readonly classes?: string;
  readonly prediction?: string;
  readonly seed?: number;
}

/** Declares `--classes`. @param meaning - what happens to the model */
export function addClassFlag(command: Command, meaning: string): void {
  command.option(
    "--classes <count or names>",
    `${meaning}: how many, or their names with commas, or a .txt file with one name a line`,
  );
}

/**
 * The classes that a text asks for.
 * @throws UsageError for a text that is neither a number nor names; SorthError for a file that cannot be read
 */
async function classesIn(text: string): Promise<number | string[]> {
  if (/^\s*-?\d+\s*$/.test(text)) return Number(text);
  const source = /\.txt$/i.test(text) ? await namesInFile(text) : text.split(",");
  const names = source.map((name) => name.trim());
  const empty = names.indexOf("");
  if (empty >= 0) {
    throw new UsageError(
      `--classes ${text}: name ${empty + 1} is empty; give a number, names with commas, or a .txt file with one name a line`,
    );
  }
  return names;
}

async function namesInFile(path: string): Promise<string[]> {
  try {
    return (await textIn(path)).replace(/\s+$/, "").split(/\r?\n/);
  } catch (error) {
    throw new FileError(`--classes: cannot read "${path}": ${reasonOf(error)}`);
  }
}

/** The model with the classes that the flags ask for; itself if they ask for none. */
export async function withClasses(
  model: Model,
  { classes, prediction, seed, ...dimensions }: ClassFlags,
  onMessage: (message: string) => void,
): Promise<Model> {
  if (classes === undefined) return model;
  return replaceHead(model, {
    classes: await classesIn(classes),
    ...given({ prediction, seed }),
    ...dimensionsOf(dimensions),
    onMessage,
  });
}
