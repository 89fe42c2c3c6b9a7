import { type Command, InvalidArgumentError } from "commander";
import type { DimensionOptions } from "../analysis/dimensions.ts";
import { given, positiveInteger, wholeNumber } from "./options.ts";

/** Flags for models whose inputs have free dimensions. */
export interface DimensionFlags {
  readonly batch?: number;
  readonly dim?: Readonly<Record<string, number>>;
}

/** Declares the flags that fix a model's free dimensions. */
export function addDimensionFlags(command: Command, batchMeaning: string): void {
  command.option("--batch <size>", batchMeaning, positiveInteger);
  addLengthFlag(command);
}

/** Declares the flag for free dimensions other than the batch. */
export function addLengthFlag(command: Command): void {
  command.option(
    "--dim <name=size>",
    "size of another free dimension, or several with commas; repeatable",
    dimension,
  );
}

/** The library's options for these flags. */
export function dimensionsOf({ batch, dim }: DimensionFlags): DimensionOptions {
  return given({ batch, dims: dim });
}

function dimension(text: string, before: Readonly<Record<string, number>> = {}): Record<string, number> {
  // Several in one flag, as other flags take them.
  const several = text.split(",");
  if (several.length > 1 && several.every((one) => /^[^=]+=\d+$/.test(one))) {
    return several.reduce<Record<string, number>>((all, one) => dimension(one, all), { ...before });
  }
  const [, name, size] = /^(.+)=([^=]+)$/.exec(text) ?? [];
  if (name === undefined || size === undefined) throw new InvalidArgumentError("Write it as NAME=SIZE.");
  // 0 is for the cache of a decoder; other dimensions refuse it.
  return { ...before, [name]: wholeNumber(size) };
}
