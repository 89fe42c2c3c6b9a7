import type { Command } from "commander";
import { inspect, readModel } from "../../index.ts";
import { addDimensionFlags, type DimensionFlags, dimensionsOf } from "../dimension-flags.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, DimensionFlags {
  readonly json?: true;
}

/** `inspect`: says what the tool sees in a model. */
export function define(command: Command, streams: CommandStreams): void {
  command.argument("<model>", "an ONNX model").option("--json", "the whole report for machines");
  addDimensionFlags(command, "batch size to show rows for, where the model leaves it open");
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const report = await inspect(await readModel(path), dimensionsOf(flags));
    if (flags.json) terminal.json(report);
  });
}
