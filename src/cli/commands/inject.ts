import type { Command } from "commander";
import { inject, readModel, writeModel } from "../../index.ts";
import { addDimensionFlags, type DimensionFlags, dimensionsOf } from "../dimension-flags.ts";
import { addObjectiveFlags, type ObjectiveFlags, objectiveOf, oneObjective } from "../loss-flags.ts";
import { given } from "../options.ts";
import { addOutputFlag, chosenOutput, type OutputFlags, outputBeside } from "../output.ts";
import { addPenaltyFlags, type PenaltyFlags, penaltiesOf } from "../penalty-flags.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, OutputFlags, PenaltyFlags, DimensionFlags, ObjectiveFlags {
  readonly perSite?: true;
}

/** `inject`: adds the penalty to a model. */
export function define(command: Command, streams: CommandStreams): void {
  command.argument("<model>", "an ONNX model");
  addOutputFlag(command, "sorth", "where to write the model with the penalty");
  addPenaltyFlags(command);
  command
    .option("--per-site", "add an output with the penalty of each layer: sorth_penalty/<layer>")
    .option("--loss <name>", "the model's loss output; it becomes loss + weight · penalty");
  addObjectiveFlags(command, "add this loss, with an input labels and an output loss");
  addDimensionFlags(command, "batch size for shape inference, if the model leaves it open");
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const output = await chosenOutput(flags, outputBeside(path, "sorth"), terminal.write);
    const { perSite, loss } = flags;
    const injected = await inject(await readModel(path), {
      penalties: penaltiesOf(flags),
      ...dimensionsOf(flags),
      ...oneObjective("inject", objectiveOf(flags)),
      ...given({ perSite, loss }),
      onMessage: (message) => terminal.note(message),
    });
    await writeModel(injected, output, terminal.write);
    await terminal.wrote(path, output);
  });
}
