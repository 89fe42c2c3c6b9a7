import type { Command } from "commander";
import { readModel, strip, writeModel } from "../../index.ts";
import { addOutputFlag, chosenOutput, type OutputFlags, outputBeside } from "../output.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, OutputFlags {}

/** `strip`: removes an injected penalty and tapped outputs from a model. */
export function define(command: Command, streams: CommandStreams): void {
  command.argument("<model>", "a model that inject or tap has written");
  addOutputFlag(command, "stripped", "where to write the model without what was added");
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    // model.sorth.onnx → model.stripped.onnx
    const standard = outputBeside(path.replace(/(\.(sorth|tapped))+\.onnx$/i, ".onnx"), "stripped");
    const output = await chosenOutput(flags, standard, terminal.write);
    await writeModel(strip(await readModel(path)), output, terminal.write);
    await terminal.wrote(path, output);
  });
}
