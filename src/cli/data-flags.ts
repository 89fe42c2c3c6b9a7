import { type Command, InvalidArgumentError } from "commander";
import { type Normalization, normalizations } from "../data/normalize.ts";

/** Flags of the commands that read data. */
export interface DataFlags {
  readonly normalize?: Normalization;
}

/** Declares the flags that determine how data are read. */
export function addDataFlags(command: Command): void {
  command.option(
    "--normalize <how>",
    "scaling of pixels: 0..1 divides them by 255, none leaves them unchanged (default: 0..1 for bytes up to 255, unless the model scales them itself)",
    normalization,
  );
}

/** Names that a later version will accept. */
const later = /^(imagenet|data|mean=.*|std=.*)$/;

function normalization(text: string): Normalization {
  const found = normalizations.find((name) => name === text);
  if (found) return found;
  const names = normalizations.join(" and ");
  throw new InvalidArgumentError(
    later.test(text)
      ? `This version accepts ${names}; for other scalings, scale the data yourself.`
      : `Give ${names}.`,
  );
}
