import type { Command } from "commander";
import { inspect, readModel } from "../../index.ts";
import { addDimensionFlags, type DimensionFlags, dimensionsOf } from "../dimension-flags.ts";
import { inspectionText } from "../inspection-text.ts";
import { given } from "../options.ts";
import { addParameterFlags, type ParameterFlags } from "../parameter-flags.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, DimensionFlags, ParameterFlags {
  readonly json?: true;
}

/** `inspect`: says what the tool sees in a model. */
export function define(command: Command, streams: CommandStreams): void {
  command.argument("<model>", "an ONNX model").option("--json", "the whole report for machines");
  addParameterFlags(command);
  addDimensionFlags(command, "batch size to count rows with, where the model leaves it open");
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const { trainable, freeze, tie, untie } = flags;
    const report = await inspect(await readModel(path), {
      ...dimensionsOf(flags),
      ...given({ trainable, freeze, tie, untie }),
    });
    if (flags.json) terminal.json(report);
    else terminal.print(inspectionText(path, report, terminal.colors.bold));
  });
}
