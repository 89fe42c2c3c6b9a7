import type { Command } from "commander";
import { freeBatch, readModel, writeModel } from "../../index.ts";
import { checkIsNoData } from "../../onnx/files-node.ts";
import { addLengthFlag, type DimensionFlags } from "../dimension-flags.ts";
import { given } from "../options.ts";
import { addOutputFlag, chosenOutput, type OutputFlags, outputBeside } from "../output.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, OutputFlags, Pick<DimensionFlags, "dim"> {}

/** `free-batch`: frees a batch that the exporter fixed at 1. */
export function define(command: Command, streams: CommandStreams): void {
  command.argument("<model>", "an ONNX model whose batch is fixed at 1");
  addOutputFlag(command, "batch", "where to write the model with the free batch");
  addLengthFlag(command);
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const output = await chosenOutput(flags, outputBeside(path, "batch"), terminal.write);
    const model = await readModel(path);
    await checkIsNoData(output, model);
    const remarks: string[] = [];
    const freed = await freeBatch(model, {
      ...given({ dims: flags.dim }),
      onMessage: (message) => remarks.push(message),
    });
    await writeModel(freed, output, terminal.write);
    await terminal.wrote(path, output);
    for (const remark of remarks) terminal.note(remark);
  });
}
