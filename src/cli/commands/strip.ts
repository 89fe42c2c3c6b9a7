import type { Command } from "commander";
import { readModel, strip, writeModel } from "../../index.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags {
  readonly output: string;
}

/** `strip`: takes an injected penalty out of a model again. */
export function define(command: Command, streams: CommandStreams): void {
  command
    .argument("<model>", "a model that inject has written")
    .requiredOption("-o, --output <file>", "where to write the model without the penalty")
    .action(async (path: string, flags: Flags) => {
      const terminal = new Terminal(streams, flags);
      await writeModel(strip(await readModel(path)), flags.output, terminal.write);
      await terminal.wrote(path, flags.output);
    });
}
