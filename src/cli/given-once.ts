import type { Command } from "commander";
import { UsageError } from "../errors.ts";
import { repeats } from "./config/values.ts";

/**
 * Refuses a flag with a value that is typed twice, unless it may be repeated: the first of its values would be lost.
 *
 * @example
 * refuseRepeated(command); // --augment flip --augment crop=4: give --augment once
 */
export function refuseRepeated(command: Command): void {
  for (const option of command.options) {
    if (!option.required && !option.optional) continue;
    let before: string | undefined;
    command.on(`option:${option.name()}`, (text: string | null | undefined) => {
      if (typeof text !== "string") return;
      if (before !== undefined && !repeats(option, [before, text])) {
        throw new UsageError(
          `${option.long} is given twice, as ${JSON.stringify(before)} and ${JSON.stringify(text)}; give it once`,
        );
      }
      before = text;
    });
  }
}
