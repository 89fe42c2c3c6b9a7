import type { Command } from "commander";
import { differentiate, readModel, writeModel } from "../../index.ts";
import { checkIsNoData } from "../../onnx/files-node.ts";
import { withLossFiles } from "../loss-files.ts";
import { addLossFlags, type LossFlags, lossOptionsOf } from "../loss-flags.ts";
import { given, patterns } from "../options.ts";
import { addOutputFlag, chosenOutput, type OutputFlags, outputBeside } from "../output.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, OutputFlags, LossFlags {
  readonly wrt?: RegExp;
  readonly wrtInputs?: RegExp;
}

/** `grad`: writes the gradient of a loss as a model. */
export function define(command: Command, streams: CommandStreams): void {
  command.argument("<model>", "an ONNX model");
  addOutputFlag(command, "grad", "where to write the model that computes the loss and its gradients");
  command
    .option(
      "--wrt <pattern>",
      "only the gradients of parameters (or other initializers) whose name matches",
      patterns,
    )
    .option("--wrt-inputs <pattern>", "also gradients of the model's inputs whose name matches", patterns);
  addLossFlags(command, "batch size, if the model leaves it open");
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const output = await chosenOutput(flags, outputBeside(path, "grad"), terminal.write);
    const original = await readModel(path);
    await checkIsNoData(output, original);
    const { model, loss, gradients, masks } = await differentiate(original, {
      ...lossOptionsOf(await withLossFiles(flags)),
      ...given({ wrt: flags.wrt, wrtInputs: flags.wrtInputs }),
      onMessage: (message) => terminal.note(message),
    });
    await writeModel(model, output, terminal.write);
    await terminal.wrote(path, output);
    terminal.note(`outputs: ${[loss, ...gradients.values()].join(", ")}`);
    if (masks.size > 0) terminal.note(`Dropout masks to feed: ${[...masks.keys()].join(", ")}`);
  });
}
