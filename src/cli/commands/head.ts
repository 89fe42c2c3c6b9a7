import type { Command } from "commander";
import { UsageError } from "../../errors.ts";
import { readModel } from "../../index.ts";
import { seedNumber } from "../../numbers.ts";
import { checkIsNoData, writeWithData } from "../../onnx/files-node.ts";
import { addClassFlag, type ClassFlags, withClasses } from "../class-list.ts";
import { addDimensionFlags } from "../dimension-flags.ts";
import { numberIn } from "../options.ts";
import { addOutputFlag, chosenOutput, type OutputFlags, outputBeside } from "../output.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, OutputFlags, ClassFlags {}

/** `head`: gives a model new classes. */
export function define(command: Command, streams: CommandStreams): void {
  command.argument("<model>", "a classifier as an ONNX model");
  addOutputFlag(command, "head", "where to write the model with its new classes");
  addClassFlag(command, "the new classes");
  command
    .option(
      "--prediction <name>",
      "the output that the classifier computes (default: the first float output)",
    )
    .option("--seed <number>", "seed of the new layer's weights (default: 0)", numberIn(seedNumber));
  addDimensionFlags(command, "batch size with which the shapes are checked, if the model leaves it open");
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    if (flags.classes === undefined) throw new UsageError("say which classes the model gets: --classes N");
    const output = await chosenOutput(flags, outputBeside(path, "head"), terminal.write);
    const model = await readModel(path);
    await checkIsNoData(output, model);
    const remarks: string[] = [];
    const changed = await withClasses(model, flags, (message) => remarks.push(message));
    const data = await writeWithData(changed, output, terminal.write);
    await terminal.wrote(path, output, data);
    for (const remark of remarks) terminal.note(remark);
  });
}
