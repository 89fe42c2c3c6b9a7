import { type Command, Option } from "commander";
import { inject, readModel, writeModel } from "../../index.ts";
import { addDimensionFlags, type DimensionFlags, dimensionsOf } from "../dimension-flags.ts";
import { given } from "../options.ts";
import { addOutputFlag, chosenOutput, type OutputFlags, outputBeside } from "../output.ts";
import { addPenaltyFlags, type PenaltyFlags, penaltiesOf } from "../penalty-flags.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, OutputFlags, PenaltyFlags, DimensionFlags {
  readonly perSite?: true;
  readonly loss?: string;
  readonly objective?: (typeof objectives)[number];
  readonly prediction?: string;
}

const objectives = ["cross-entropy", "mse", "l1", "bce"] as const;

/** `inject`: adds the penalty to a model. */
export function define(command: Command, streams: CommandStreams): void {
  command.argument("<model>", "an ONNX model");
  addOutputFlag(command, "sorth", "where to write the model with the penalty");
  addPenaltyFlags(command);
  command
    .option("--per-site", "one more output for each layer: sorth_penalty/<layer>")
    .option("--loss <name>", "the model's output that is its loss: it becomes itself + weight · penalty")
    .addOption(
      new Option("--objective <name>", "a loss to add: input labels, output loss").choices(objectives),
    )
    .option(
      "--prediction <name>",
      "the value that the objective compares with labels, an output or an inner value (default: the first output of floats)",
    );
  addDimensionFlags(command, "batch size to infer shapes with, where the model leaves it open");
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const output = await chosenOutput(flags, outputBeside(path, "sorth"), terminal.write);
    const { perSite, loss, objective, prediction } = flags;
    const injected = await inject(await readModel(path), {
      penalties: penaltiesOf(flags),
      ...dimensionsOf(flags),
      ...given({ perSite, loss, objective, output: prediction }),
      onMessage: (message) => terminal.note(message),
    });
    await writeModel(injected, output, terminal.write);
    await terminal.wrote(path, output);
  });
}
